//! Webhooks in the shape of Alertmanager's, version 4.

use crate::alerting::letter::Content;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue};
use serde_json::json;
use sha2::Sha256;
use shared::config::{ExposeSecret, SecretString};
use uuid::Uuid;

pub(super) fn body(content: &Content) -> Vec<u8> {
    let body = match content {
        Content::Alerts(message) => serde_json::to_vec(message),
        Content::Note { subject, text } => serde_json::to_vec(&json!({ "subject": subject, "text": text })),
    };
    // Texts and numbers have no way to fail.
    body.unwrap_or_default()
}

/// The same key for each attempt, and a signature where there is a secret.
pub(super) fn headers(body: &[u8], secret: Option<&SecretString>, id: Uuid) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.extend(
        HeaderValue::try_from(id.to_string())
            .map(|id| (http::HeaderName::from_static("idempotency-key"), id)),
    );
    let mac =
        secret.and_then(|secret| Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok());
    if let Some(mut mac) = mac {
        mac.update(body);
        let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        headers.extend(
            HeaderValue::try_from(signature)
                .map(|signature| (http::HeaderName::from_static("x-signature"), signature)),
        );
    }
    headers
}
