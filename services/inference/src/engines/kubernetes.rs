//! Engines behind a Kubernetes service: its EndpointSlices, listed once and then watched, over the API server's REST.
//!
//! A watch goes on where the list ended. When the server no longer has that place (410) it is listed again; while the
//! server is away, what was known holds.

mod slices;

use super::{
    Fleet,
    source::{Port, Scheme, Source},
};
use crate::config;
use bytes::{Bytes, BytesMut};
use http::{Request, StatusCode, Uri, header, uri::PathAndQuery};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use serde::Deserialize;
use shared::tls::{Connector, Dialer, Protocol};
use slices::{Metadata, Slice, Slices};
use std::time::Duration;

/// Time to connect, and for an answer to begin.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the server is asked to keep a watch open, in seconds.
const WATCH: u64 = 240;
/// Silence after which a watch is taken for dead: the server closes it before, and says something now and then.
const SILENCE: Duration = Duration::from_secs(WATCH + 30);
/// Slices on a page of a list.
const PAGE: u32 = 500;
/// A list larger than this is none.
const MAX_LIST_BYTES: usize = 64 * 1024 * 1024;
/// A line of a watch longer than this is none.
const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;
/// Between two tries when the server is away.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));

/// Where EndpointSlices are asked for.
#[derive(Debug)]
pub(super) struct ApiServer {
    config: config::Kubernetes,
}

/// One service, being followed.
struct Service<'a> {
    config: &'a config::Kubernetes,
    client: Client<Connector, Empty<Bytes>>,
    path: String,
    scheme: Scheme,
    port: &'a Port,
    fleet: &'a Fleet,
    entry: &'a str,
}

#[derive(Deserialize)]
struct List {
    metadata: ListMetadata,
    #[serde(default)]
    items: Vec<Slice>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    r#continue: String,
}

#[derive(Deserialize)]
struct Event<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    object: &'a serde_json::value::RawValue,
}

/// What a bookmark holds of an object.
#[derive(Deserialize)]
struct Marked {
    metadata: Metadata,
}

/// What an error holds.
#[derive(Deserialize)]
struct Failed {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
}

/// Why a watch ended.
#[derive(Debug)]
enum End {
    /// It may go on from the last place.
    Closed,
    /// The place is gone.
    Gone,
}

impl ApiServer {
    pub(super) fn new(config: &config::Kubernetes) -> Self {
        Self { config: config.clone() }
    }

    /// Follows a service until it is told to stop.
    pub(super) async fn follow(&self, fleet: &Fleet, entry: &str, source: &Source) {
        let Source::Kubernetes { scheme, namespace, service, port } = source else { return };
        let path = format!(
            "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices\
             ?labelSelector=kubernetes.io%2Fservice-name%3D{service}"
        );
        let mut wait = BACK_OFF.0;
        loop {
            let failed = match self.client(fleet) {
                Ok(client) => {
                    let (config, scheme) = (&self.config, *scheme);
                    let path = path.clone();
                    let service = Service { config, client, path, scheme, port, fleet, entry };
                    service.run(&mut wait).await
                }
                Err(fault) => fault,
            };
            tracing::warn!(entry, error = failed, "endpoints could not be read; the engines of before stay");
            tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
            wait = (wait * 2).min(BACK_OFF.1);
        }
    }

    fn client(&self, fleet: &Fleet) -> Result<Client<Connector, Empty<Bytes>>, String> {
        let dialer = Dialer::open(&self.config.tls, "inference.kubernetes.tls").map_err(|fault| fault.0)?;
        dialer.watch(&fleet.0.settings.tasks);
        let connector = dialer.connector(Protocol::Http1, PATIENCE);
        Ok(Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector))
    }
}

impl Service<'_> {
    /// Lists and watches until something fails; returns what.
    async fn run(&self, wait: &mut Duration) -> String {
        let mut slices = Slices::default();
        loop {
            let mut version = match self.list(&mut slices).await {
                Ok(version) => version,
                Err(failed) => return failed,
            };
            *wait = BACK_OFF.0;
            self.tell(&slices);
            loop {
                match self.watch(&mut version, &mut slices).await {
                    Ok(End::Closed) => tokio::time::sleep(BACK_OFF.0).await,
                    Ok(End::Gone) => break,
                    Err(failed) => return failed,
                }
            }
        }
    }

    fn tell(&self, slices: &Slices) {
        self.fleet.found(self.entry, slices.engines(self.scheme, self.port));
    }

    /// All slices, page by page, and the version from which to watch.
    async fn list(&self, slices: &mut Slices) -> Result<String, String> {
        let (mut all, mut next) = (Vec::new(), String::new());
        loop {
            let page = format!("&limit={PAGE}{next}");
            let answer = self.ask(&page).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_LIST_BYTES).collect();
            let body =
                tokio::time::timeout(PATIENCE, body).await.map_err(|_| "the list did not come in time")?;
            let body = body.map_err(|_| "the list broke off, or is too large")?.to_bytes();
            // The pages of a list are kept for a few minutes only.
            if status == StatusCode::GONE && !next.is_empty() {
                (all, next) = (Vec::new(), String::new());
                continue;
            }
            if status != StatusCode::OK {
                return Err(refusal(status, &body));
            }
            let list: List = serde_json::from_slice(&body).map_err(|error| format!("no list: {error}"))?;
            all.extend(list.items);
            if list.metadata.r#continue.is_empty() {
                slices.replace(all);
                return Ok(list.metadata.resource_version);
            }
            next = format!("&continue={}", list.metadata.r#continue);
        }
    }

    /// Follows changes from a version on, which moves with them.
    async fn watch(&self, version: &mut String, slices: &mut Slices) -> Result<End, String> {
        let query =
            format!("&watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH}&resourceVersion={version}");
        let answer = self.ask(&query).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::GONE => return Ok(End::Gone),
            status => return Err(refusal(status, b"")),
        }
        let (mut body, mut rest) = (answer.into_body(), BytesMut::new());
        while let Some(frame) = next(&mut body).await? {
            rest.extend_from_slice(&frame);
            while let Some(end) = memchr::memchr(b'\n', &rest) {
                let line = rest.split_to(end + 1);
                if !line.trim_ascii().is_empty() && self.take(&line, version, slices)? {
                    return Ok(End::Gone);
                }
            }
            if rest.len() > MAX_LINE_BYTES {
                return Err("a line of the watch is too long".into());
            }
        }
        Ok(End::Closed)
    }

    /// Takes one event. Returns whether the place is gone.
    fn take(&self, line: &[u8], version: &mut String, slices: &mut Slices) -> Result<bool, String> {
        let bad = |error: serde_json::Error| format!("no event: {error}");
        let event: Event<'_> = serde_json::from_slice(line).map_err(bad)?;
        let object = event.object.get();
        let slice = || serde_json::from_str::<Slice>(object).map_err(bad);
        match event.r#type {
            "ADDED" | "MODIFIED" => {
                let slice = slice()?;
                version.clone_from(&slice.metadata.resource_version);
                slices.put(slice);
                self.tell(slices);
            }
            "DELETED" => {
                let slice = slice()?;
                version.clone_from(&slice.metadata.resource_version);
                slices.remove(&slice);
                self.tell(slices);
            }
            "BOOKMARK" => {
                let marked: Marked = serde_json::from_str(object).map_err(bad)?;
                *version = marked.metadata.resource_version;
            }
            "ERROR" => {
                let failed: Failed = serde_json::from_str(object).map_err(bad)?;
                let gone = failed.code == StatusCode::GONE.as_u16();
                return if gone { Ok(true) } else { Err(failed.message) };
            }
            _ => {}
        }
        Ok(false)
    }

    async fn ask(&self, query: &str) -> Result<http::Response<Incoming>, String> {
        let token = tokio::fs::read_to_string(&self.config.token_file).await;
        let token = token.map_err(|error| format!("{}: {error}", self.config.token_file.display()))?;
        let mut parts = self.config.server.parse::<Uri>().map_err(|error| error.to_string())?.into_parts();
        let path =
            PathAndQuery::try_from(format!("{}{query}", self.path)).map_err(|error| error.to_string())?;
        parts.path_and_query = Some(path);
        let uri = Uri::from_parts(parts).map_err(|error| error.to_string())?;
        let request = Request::get(uri)
            .header(header::AUTHORIZATION, format!("Bearer {}", token.trim()))
            .header(header::ACCEPT, "application/json")
            .body(Empty::new())
            .map_err(|_| "the token cannot be sent")?;
        let answer = tokio::time::timeout(PATIENCE, self.client.request(request)).await;
        let answer = answer.map_err(|_| "the API server did not answer in time")?;
        answer.map_err(|error| super::root(&error))
    }
}

async fn next(body: &mut Incoming) -> Result<Option<Bytes>, String> {
    match tokio::time::timeout(SILENCE, body.frame()).await {
        Ok(Some(Ok(frame))) => Ok(Some(frame.into_data().unwrap_or_default())),
        Ok(Some(Err(error))) => Err(super::root(&error)),
        Ok(None) => Ok(None),
        Err(_) => Err("the watch fell silent".into()),
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> String {
    let said = serde_json::from_slice::<Failed>(body).map(|failed| failed.message).unwrap_or_default();
    let hint = match status {
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
            "; the service account needs get, list and watch of endpointslices.discovery.k8s.io"
        }
        _ => "",
    };
    format!("the API server answered {} {said}{hint}", status.as_u16())
}
