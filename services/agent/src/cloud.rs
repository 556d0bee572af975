//! Who this machine is to its cloud: tokens and credentials that the metadata server gives, and requests signed with them.

use crate::{
    notice::aws_token,
    web::{Answer, Site},
};
use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use http::Request;
use serde::Deserialize;
use std::time::{Duration, UNIX_EPOCH};

/// Longest time for one call to a cloud.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
const ROLE: &str = "/latest/meta-data/iam/security-credentials/";
const GOOGLE_TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Role {
    access_key_id: String,
    secret_access_key: String,
    token: String,
}

#[derive(Deserialize)]
struct GoogleToken {
    access_token: String,
}

/// The credentials of the machine's role at AWS.
pub(crate) async fn aws_role(metadata: &Site) -> Result<Credentials, String> {
    let token = aws_token(metadata).await.map_err(|why| why.to_string())?;
    let headers = [("x-aws-ec2-metadata-token", token.as_str())];
    let name = text(metadata.get(ROLE, &headers, LIMIT).await)?;
    let name = name.lines().next().unwrap_or_default().trim().to_owned();
    let role = text(metadata.get(&format!("{ROLE}{name}"), &headers, LIMIT).await)?;
    let Role { access_key_id, secret_access_key, token } =
        serde_json::from_str(&role).map_err(|_| "the role's credentials cannot be read".to_owned())?;
    Ok(Credentials::new(access_key_id, secret_access_key, Some(token), None, "instance role"))
}

/// A token of the machine's service account at Google.
pub(crate) async fn google_token(metadata: &Site) -> Result<String, String> {
    let headers = [("metadata-flavor", "Google")];
    let told = text(metadata.get(GOOGLE_TOKEN, &headers, LIMIT).await)?;
    let told: GoogleToken =
        serde_json::from_str(&told).map_err(|_| "the service account's token cannot be read".to_owned())?;
    Ok(told.access_token)
}

/// A form sent to an AWS service, signed.
pub(crate) async fn aws_form(
    site: &Site,
    credentials: Credentials,
    region: &str,
    service: &str,
    form: String,
) -> Result<Answer, String> {
    let now = u64::try_from(shared::time::now().0).unwrap_or(0);
    let request = signed(site.authority(), credentials, region, service, form, Duration::from_micros(now))?;
    site.ask(request, LIMIT).await.map_err(|silence| silence.to_string())
}

fn signed(
    host: &str,
    credentials: Credentials,
    region: &str,
    service: &str,
    form: String,
    now: Duration,
) -> Result<Request<String>, String> {
    let fault = |error: &dyn std::error::Error| format!("the request cannot be signed: {error}");
    let identity = credentials.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(UNIX_EPOCH + now)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| fault(&error))?;
    let kind = "application/x-www-form-urlencoded; charset=utf-8";
    let mut request = Request::builder()
        .method("POST")
        .uri("/")
        .header("host", host)
        .header("content-type", kind)
        .body(form.clone())
        .map_err(|error| fault(&error))?;
    let headers = [("host", host), ("content-type", kind)].into_iter();
    let signable = SignableRequest::new(
        "POST",
        format!("https://{host}/"),
        headers,
        SignableBody::Bytes(form.as_bytes()),
    );
    let signable = signable.map_err(|error| fault(&error))?;
    let (instructions, _) = sign(signable, &parameters.into()).map_err(|error| fault(&error))?.into_parts();
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}

fn text(answer: Result<Answer, crate::web::Silence>) -> Result<String, String> {
    let answer = answer.map_err(|silence| format!("the metadata server: {silence}"))?;
    if answer.status.is_success() {
        Ok(answer.body)
    } else {
        Err(format!("the metadata server answers {}", answer.status.as_u16()))
    }
}

/// A form's fields as it is sent.
pub(crate) fn form(fields: &[(String, String)]) -> String {
    let escaped = |text: &str| {
        text.bytes().fold(String::new(), |mut escaped, byte| {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    escaped.push(byte.into())
                }
                _ => escaped.push_str(&format!("%{byte:02X}")),
            }
            escaped
        })
    };
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    fields.join("&")
}
