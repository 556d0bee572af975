//! Where the gateway is and who calls it: from flags, and from first-run.json what no flag says.

use anyhow::Context;
use secrecy::SecretString;
use serde::Deserialize;
use std::{fs, path::Path};

/// What flags said.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) url: Option<String>,
    pub(super) api_key: Option<SecretString>,
    pub(super) model: Option<String>,
}

/// Everything that a request needs.
#[derive(Debug, Clone)]
pub(super) struct Credentials {
    pub(super) base_url: String,
    pub(super) api_key: SecretString,
    pub(super) model: String,
}

#[derive(Deserialize)]
struct FirstRun {
    base_url: String,
    api_key: SecretString,
    model: String,
}

impl Given {
    /// Fills the gaps. The file is not needed when there are none.
    pub(super) fn complete(self, data_dir: &Path) -> anyhow::Result<Credentials> {
        let filled = match self {
            Self { url: Some(base_url), api_key: Some(api_key), model: Some(model) } => {
                Credentials { base_url, api_key, model }
            }
            Self { url, api_key, model } => {
                let first_run = read(&data_dir.join("first-run.json"))?;
                Credentials {
                    base_url: url.unwrap_or(first_run.base_url),
                    api_key: api_key.unwrap_or(first_run.api_key),
                    model: model.unwrap_or(first_run.model),
                }
            }
        };
        // The file is written before an engine has said what it serves.
        anyhow::ensure!(
            !filled.model.is_empty(),
            "first-run.json names no model yet; say which with --model"
        );
        Ok(Credentials { base_url: root(&filled.base_url).to_owned(), ..filled })
    }
}

fn read(path: &Path) -> anyhow::Result<FirstRun> {
    let text = fs::read_to_string(path).with_context(|| {
        format!(
            "cannot read {}; name the gateway's --data-dir, or give --url, --api-key and --model",
            path.display()
        )
    })?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a first-run file", path.display()))
}

/// OpenAI clients are given the address with `/v1`; here it is meant without.
fn root(url: &str) -> &str {
    let url = url.trim_end_matches('/');
    url.strip_suffix("/v1").unwrap_or(url).trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn given(url: Option<&str>, key: Option<&str>, model: Option<&str>) -> Given {
        Given { url: url.map(str::to_owned), api_key: key.map(Into::into), model: model.map(str::to_owned) }
    }

    #[test]
    fn flags_win_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"base_url":"http://a:1/v1/","api_key":"k","model":"m","owner_email":"e"}"#;
        fs::write(dir.path().join("first-run.json"), text).unwrap();
        let from_file = given(None, None, None).complete(dir.path()).unwrap();
        assert_eq!((from_file.base_url.as_str(), from_file.api_key.expose_secret()), ("http://a:1", "k"));
        let mixed = given(Some("http://b:2"), None, Some("n")).complete(dir.path()).unwrap();
        assert_eq!((mixed.base_url.as_str(), mixed.model.as_str()), ("http://b:2", "n"));
    }

    #[test]
    fn a_file_from_before_the_first_engine_names_no_model() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"base_url":"http://a:1","api_key":"k","model":""}"#;
        fs::write(dir.path().join("first-run.json"), text).unwrap();
        let error = given(None, None, None).complete(dir.path()).unwrap_err();
        assert!(error.to_string().contains("--model"), "{error}");
        assert!(given(None, None, Some("m")).complete(dir.path()).is_ok());
    }

    #[test]
    fn the_file_is_only_needed_for_what_is_missing() {
        let nowhere = Path::new("/nonexistent");
        assert!(given(Some("http://a"), Some("k"), Some("m")).complete(nowhere).is_ok());
        let error = given(Some("http://a"), None, Some("m")).complete(nowhere).unwrap_err();
        assert!(error.to_string().contains("--api-key"), "{error}");
    }
}
