//! What a newcomer sees: lines to paste, each of which works.

use crate::first_run::{self, Welcome};
use std::{
    io::{self, IsTerminal, Write},
    path::Path,
};

/// Shows the first steps. The secrets are shown on a terminal only; elsewhere, where to read them.
pub(crate) fn show(welcome: &Welcome, data_dir: &Path, simulated: bool, first: bool) -> io::Result<()> {
    let mut out = io::stderr().lock();
    let file = first_run::path(data_dir);
    let file = file.display();
    let Welcome { base_url, model, .. } = welcome;
    let terminal = io::stderr().is_terminal();
    let secured = base_url.strip_prefix("https://");
    let address = secured.or_else(|| base_url.strip_prefix("http://")).unwrap_or(base_url);
    let [curl, grpcurl, python] = match secured {
        Some(_) => ["curl --cacert ca.crt", "grpcurl -cacert ca.crt", "SSL_CERT_FILE=ca.crt python3"],
        None => ["curl", "grpcurl -plaintext", "python3"],
    };
    writeln!(out, "\nTollgate is ready on {base_url}")?;
    if secured.is_some() {
        writeln!(out, "ca.crt is the authority of its certificate; leave it out when that is a public one.")?;
    }
    if simulated {
        writeln!(
            out,
            "The engine behind it is SIMULATED; TOLLGATE_ENGINES=http://host:8000 puts a real vLLM there."
        )?;
    }
    if first {
        writeln!(out, "An owner account and an API key were made; they are kept in {file} (mode 0600).")?;
    }
    if first && terminal {
        writeln!(out, "  owner     {}   password  {}", welcome.owner_email, welcome.owner_password)?;
        writeln!(out, "\nexport TOLLGATE_KEY={}", welcome.api_key)?;
    } else {
        writeln!(out, "\nexport TOLLGATE_KEY=$(sed -n 's/.*\"api_key\": \"\\(.*\\)\".*/\\1/p' {file})")?;
    }
    if model.is_empty() {
        return writeln!(out, "\nNo engine was seen yet: its models are registered as soon as it answers.\n");
    }
    writeln!(
        out,
        r#"
{curl} {base_url}/v1/chat/completions -H "Authorization: Bearer $TOLLGATE_KEY" -H 'Content-Type: application/json' -d '{{"model":"{model}","messages":[{{"role":"user","content":"Hello"}}],"max_tokens":16}}'

{grpcurl} -H "authorization: Bearer $TOLLGATE_KEY" -d '{{"prompt":{{"model":"{model}","messages":[{{"role":"user","content":"Hello"}}],"max_tokens":16}}}}' {address} tollgate.inference.v1.InferenceService/Infer

{python} -c "import os, openai; print(openai.OpenAI(base_url='{base_url}/v1', api_key=os.environ['TOLLGATE_KEY']).chat.completions.create(model='{model}', messages=[dict(role='user', content='Hello')], max_tokens=16).choices[0].message.content)"

REST: {base_url}/api/docs   health: {base_url}/health/ready   metrics: {base_url}/metrics
"#
    )
}
