//! Every list and count of the contract, asked of a running service with an empty store: a name, a line feed, and the
//! request as it stands on the wire.

#![expect(clippy::panic, reason = "a fuzz target panics when a promise is broken")]

use crate::{Config, MIGRATIONS, Permissions, bootstrap};
use axum::{Router, body::Body};
use http::Request;
use http_body_util::BodyExt;
use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};
use secrecy::ExposeSecret;
use shared::{db::Db, health::Health, server::Tasks, time};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use tokio::runtime::Runtime;
use tonic::{Code, Status, codegen::Service};
use tonic_types::StatusExt;

/// Longest answer to a question of an empty store.
const ANSWER: usize = 100_000;
const PACKAGE: &str = "tollgate.permissions.v1";

/// A service, and what is asked of it.
struct Asked {
    runtime: Runtime,
    routes: Router,
    credential: String,
    /// Path and request of each method, by its name.
    methods: BTreeMap<String, (String, String)>,
    messages: BTreeMap<String, DescriptorProto>,
}

/// Lists and counts: each is answered or refused for a field that the request has, and never blamed on the store.
pub fn lists(input: &[u8]) {
    static ASKED: Mutex<Option<Asked>> = Mutex::new(None);
    let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    if asked.is_none() {
        *asked = Asked::start();
    }
    let Some(asked) = asked.as_mut() else { panic!("there is no service to ask") };
    let (name, message) = input.split_at(input.iter().position(|byte| *byte == b'\n').unwrap_or_default());
    let named = std::str::from_utf8(name).ok().and_then(|name| asked.methods.get(name));
    let any = || asked.methods.values().nth(usize::from(*input.first()?) % asked.methods.len());
    let Some((path, request)) = named.or_else(any).cloned() else { return };
    let status = asked.ask(&path, message.get(1..).unwrap_or_default());
    asked.judge(&path, &request, &status);
}

impl Asked {
    fn start() -> Option<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let (routes, credential) = runtime.block_on(async {
            let db = Db::memory(&MIGRATIONS).await.ok()?;
            let first = bootstrap(&db, time::now()).await.ok()??;
            let key = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";
            let config = Config { encryption_keys: vec![key.into()], ..Config::default() };
            let health = Health::default();
            let service = Permissions::start(&config, db, &Tasks::default(), &health).await.ok()?;
            Some((service.routes(None), format!("Bearer {}", first.api_key.expose_secret())))
        })?;
        let files = FileDescriptorSet::decode(proto::DESCRIPTORS).ok()?.file;
        let services = files.iter().filter(|file| file.package() == PACKAGE).flat_map(|file| &file.service);
        let methods = services.flat_map(|service| {
            let lists = service.method.iter().filter(|method| !method.server_streaming());
            let lists = lists
                .filter(|method| method.name().starts_with("List") || method.name().starts_with("Count"));
            lists.map(|method| {
                let path = format!("/{PACKAGE}.{}/{}", service.name(), method.name());
                (method.name().to_owned(), (path, method.input_type().to_owned()))
            })
        });
        let methods = methods.collect();
        let named = |file: FileDescriptorProto| {
            let package = file.package().to_owned();
            file.message_type
                .into_iter()
                .map(move |message| (format!(".{package}.{}", message.name()), message))
        };
        let messages = files.into_iter().flat_map(named).collect();
        Some(Self { runtime, routes, credential, methods, messages })
    }

    /// What the service says to a request.
    fn ask(&mut self, path: &str, message: &[u8]) -> Status {
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
        let frame = [&[0][..], &length, message].concat();
        let request = Request::post(path)
            .header("content-type", "application/grpc")
            .header("authorization", &self.credential)
            .body(Body::from(frame));
        let Ok(request) = request else { panic!("{path} is no path") };
        let answer = Service::call(&mut self.routes, request);
        self.runtime.block_on(async {
            let Ok(answer) = answer.await;
            let said = Status::from_header_map(answer.headers());
            let Ok(body) = answer.into_body().collect().await else { panic!("the answer breaks off") };
            let ended = body.trailers().and_then(Status::from_header_map);
            let length = body.to_bytes().len();
            assert!(length < ANSWER, "{length} bytes for nothing");
            said.or(ended).unwrap_or_else(|| Status::unknown("no status"))
        })
    }

    fn judge(&self, path: &str, request: &str, status: &Status) {
        assert!(status.message().len() < 1_000, "{path} says too much: {}", status.message());
        let no_message = status.code() == Code::Internal && status.message().contains("decode");
        let fine = matches!(
            status.code(),
            Code::Ok | Code::InvalidArgument | Code::NotFound | Code::PermissionDenied | Code::OutOfRange
        );
        assert!(fine || no_message, "{path}: {status:?}");
        let details = status.get_details_bad_request();
        assert!(status.code() != Code::InvalidArgument || details.is_some(), "{path}: {status:?}");
        for violation in details.iter().flat_map(|details| &details.field_violations) {
            assert!(self.has(request, &violation.field), "{request} has no {}", violation.field);
        }
    }

    /// Whether a message has a field of this path.
    fn has(&self, message: &str, path: &str) -> bool {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let name = first.split('[').next().unwrap_or_default();
        let Some(message) = self.messages.get(message) else { return false };
        let field = message.field.iter().find(|field| field.name() == name);
        field.is_some_and(|field| rest.is_none_or(|rest| self.has(field.type_name(), rest)))
    }
}
