//! Opens the edge with servers of this process behind it, and knocks.

use crate::services::{Groups, Inference, People, Policy, Usage};
use axum::{Router, body::Body, response::Response};
use edge::{Config, Upstreams};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use proto::{
    inference::v1::inference_service_server::InferenceServiceServer,
    monitoring::v1::usage_service_server::UsageServiceServer,
    permissions::v1::{
        group_service_server::GroupServiceServer, policy_service_server::PolicyServiceServer,
        user_service_server::UserServiceServer,
    },
};
use serde_json::Value;
use shared::channel;
use std::sync::Arc;
use tonic::service::Routes;
use tower::ServiceExt;

/// The edge and what stands behind it.
pub(crate) struct Door {
    pub(crate) router: Router,
    pub(crate) people: Arc<People>,
    pub(crate) policy: Arc<Policy>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Door {
    pub(crate) fn open() -> Self {
        Self::with(Config::default(), Router::new())
    }

    pub(crate) fn with(config: Config, inference_http: Router) -> Self {
        let (people, policy) = (Arc::new(People::default()), Arc::new(Policy::default()));
        let permissions = Routes::new(UserServiceServer::from_arc(people.clone()))
            .add_service(GroupServiceServer::new(Groups::default()))
            .add_service(PolicyServiceServer::from_arc(policy.clone()));
        let upstreams = Upstreams {
            permissions: channel::in_process(permissions),
            inference: channel::in_process(Routes::new(InferenceServiceServer::new(Inference))),
            monitoring: channel::in_process(Routes::new(UsageServiceServer::new(Usage))),
            inference_http: channel::http_in_process(inference_http),
        };
        Self {
            router: edge::router(config, upstreams, &shared::server::Tasks::default()).unwrap(),
            people,
            policy,
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.send(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.ask(json(Method::POST, path, body)).await
    }
}

impl Answer {
    pub(crate) fn data(&self) -> &Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        &self.body["data"]
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The one field that the answer complains about.
    pub(crate) fn bad_field(&self) -> &str {
        assert_eq!(self.status, StatusCode::BAD_REQUEST, "{}", self.body);
        self.body["details"]["field_violations"][0]["field"].as_str().unwrap()
    }
}

pub(crate) fn json(verb: Method, path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(verb).uri(path).header("content-type", "application/json");
    request.body(body.into()).unwrap()
}
