//! HTTP to the gateway, and to the engines' metrics.

use super::credentials::Credentials;
use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client as Http, Error},
    rt::TokioExecutor,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use shared::tls::{Connector, Dialer, Protocol};
use simulate::Class;
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// For everything but the replayed requests themselves.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer read of anything but a stream.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Who asks, and how urgently.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asker {
    pub(super) user: Option<usize>,
    pub(super) class: Option<Class>,
}

/// A caller of the gateway; connections are kept and shared.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: Http<Connector, Full<Bytes>>,
    credentials: Credentials,
    /// Keys of the users whose requests these are, when it is not one caller's.
    keys: Arc<[SecretString]>,
    /// Sets this replay's request ids apart from those of others.
    run: String,
}

impl Client {
    pub(super) fn new(credentials: Credentials, dialer: &Dialer) -> anyhow::Result<Self> {
        let uri: http::Uri = credentials.base_url.parse().context("the gateway's address is no URL")?;
        anyhow::ensure!(
            matches!(uri.scheme_str(), Some("http" | "https")),
            "{}: the gateway's address must be http://HOST:PORT or https://HOST:PORT",
            credentials.base_url
        );
        let connector = dialer.connector(Protocol::Http1, PATIENCE);
        let http = Http::builder(TokioExecutor::new()).build(connector);
        let mut run = Uuid::new_v4().simple().to_string();
        run.truncate(8);
        Ok(Self { http, credentials, keys: Arc::default(), run })
    }

    /// The same with the keys of users.
    pub(super) fn with_keys(self, keys: Vec<SecretString>) -> Self {
        Self { keys: keys.into(), ..self }
    }

    pub(super) fn model(&self) -> &str {
        &self.credentials.model
    }

    pub(super) fn base_url(&self) -> &str {
        &self.credentials.base_url
    }

    pub(super) fn request_id(&self, name: &str) -> String {
        format!("replay-{}-{name}", self.run)
    }

    /// Sends a chat completion and returns as soon as the answer's headers are here.
    pub(super) async fn chat(
        &self,
        request_id: &str,
        body: String,
        asker: Asker,
    ) -> Result<Response<Incoming>, Error> {
        let mut request = Self::request(Method::POST, &self.url("/v1/chat/completions"), body);
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        // A replay asks for work, not for an answer that somebody else paid for.
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
        if let Ok(id) = request_id.parse() {
            headers.insert("x-request-id", id);
        }
        if let Some(class) = asker.class {
            let class = header::HeaderValue::from_static(class.as_str());
            request.headers_mut().insert("x-tollgate-priority", class);
        }
        let key = asker.user.and_then(|user| self.keys.get(user));
        authorize(&mut request, key.unwrap_or(&self.credentials.api_key));
        self.http.request(request).await
    }

    /// The `data` of a management answer.
    pub(super) async fn rest(&self, path: &str) -> anyhow::Result<Value> {
        let mut envelope: Value = self.json(path).await?;
        let data = envelope.get_mut("data").map(Value::take);
        data.with_context(|| format!("GET {path} answered without data"))
    }

    /// The longest context of the model, if the gateway says.
    pub(super) async fn max_model_len(&self) -> anyhow::Result<Option<u32>> {
        let list = self.json("/v1/models").await?;
        let models = list.get("data").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let model = models.iter().find(|model| model.get("id").and_then(Value::as_str) == Some(self.model()));
        let length = model.and_then(|model| model.get("max_model_len")).and_then(Value::as_u64);
        Ok(length.and_then(|length| u32::try_from(length).ok()))
    }

    /// The metrics of an engine, which ask for no key.
    pub(super) async fn metrics(&self, engine: &str) -> anyhow::Result<String> {
        let root = engine.trim_end_matches('/').trim_end_matches("/v1");
        let url = format!("{root}/metrics");
        let bytes = self.get(Self::request(Method::GET, &url, String::new()), &url).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn json(&self, path: &str) -> anyhow::Result<Value> {
        let mut request = Self::request(Method::GET, &self.url(path), String::new());
        authorize(&mut request, &self.credentials.api_key);
        let bytes = self.get(request, path).await?;
        serde_json::from_slice(&bytes).with_context(|| format!("GET {path} did not answer JSON"))
    }

    async fn get(&self, request: Request<Full<Bytes>>, name: &str) -> anyhow::Result<Bytes> {
        let exchange = async {
            let response = self.http.request(request).await.with_context(|| format!("GET {name} failed"))?;
            let status = response.status();
            anyhow::ensure!(status.is_success(), "GET {name} answered {status}");
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            Ok(body
                .map_err(anyhow::Error::from_boxed)
                .with_context(|| format!("GET {name} broke"))?
                .to_bytes())
        };
        let limit = tokio::time::timeout(PATIENCE, exchange).await;
        limit.with_context(|| format!("GET {name} took longer than {} s", PATIENCE.as_secs()))?
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.credentials.base_url)
    }

    fn request(method: Method, url: &str, body: String) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = method;
        // What is no URL stays "/", which the connector refuses with an error of its own.
        *request.uri_mut() = url.parse().unwrap_or_default();
        request
    }
}

fn authorize(request: &mut Request<Full<Bytes>>, key: &SecretString) {
    let bearer = format!("Bearer {}", key.expose_secret());
    if let Ok(mut value) = header::HeaderValue::from_str(&bearer) {
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
}
