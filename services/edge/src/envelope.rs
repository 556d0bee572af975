//! The one shape of management answers, for success and failure.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde::{Serialize, Serializer};
use shared::request_id::RequestId;
use std::collections::BTreeMap;
use tonic::Status;
use tonic_types::ErrorDetails;

#[derive(Serialize)]
struct Envelope<'a, D> {
    success: bool,
    data: Option<D>,
    error: Option<&'a str>,
    error_code: Option<&'a str>,
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Details>,
    request_id: &'a str,
    timestamp: String,
    pagination: Option<Pagination>,
}

#[derive(Serialize)]
struct Pagination {
    next_page_token: String,
}

/// A failure as a caller sees it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) details: Details,
}

/// What a caller can act on.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Details {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    field_violations: Vec<FieldViolation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    preconditions: Vec<Violation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quotas: Vec<Violation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<Resource>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after: Option<f64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct FieldViolation {
    field: String,
    description: String,
}

#[derive(Debug, Serialize)]
struct Violation {
    subject: String,
    description: String,
}

impl Violation {
    fn new(subject: &str, description: &str) -> Self {
        Self { subject: subject.to_owned(), description: description.to_owned() }
    }
}

#[derive(Debug, Serialize)]
struct Resource {
    r#type: String,
    name: String,
    description: String,
}

impl Details {
    pub(crate) fn of_field(field: &str, description: &str) -> Self {
        let violation = FieldViolation { field: field.to_owned(), description: description.to_owned() };
        Self { field_violations: vec![violation], ..Self::default() }
    }

    /// Everything but debug information, which is not for callers.
    pub(crate) fn of_status(details: &ErrorDetails) -> Self {
        let fields = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        let preconditions =
            details.precondition_failure().map(|bad| bad.violations.as_slice()).unwrap_or_default();
        let quotas = details.quota_failure().map(|bad| bad.violations.as_slice()).unwrap_or_default();
        Self {
            field_violations: fields
                .iter()
                .map(|bad| FieldViolation { field: bad.field.clone(), description: bad.description.clone() })
                .collect(),
            preconditions: preconditions
                .iter()
                .map(|bad| Violation::new(&bad.subject, &bad.description))
                .collect(),
            quotas: quotas.iter().map(|bad| Violation::new(&bad.subject, &bad.description)).collect(),
            resource: details.resource_info().map(|resource| Resource {
                r#type: resource.resource_type.clone(),
                name: resource.resource_name.clone(),
                description: resource.description.clone(),
            }),
            retry_after: details.retry_info().and_then(|retry| Some(retry.retry_delay?.as_secs_f64())),
            metadata: details
                .error_info()
                .map(|info| info.metadata.clone().into_iter().collect())
                .unwrap_or_default(),
        }
    }

    fn is_empty(&self) -> bool {
        self.field_violations.is_empty()
            && self.preconditions.is_empty()
            && self.quotas.is_empty()
            && self.resource.is_none()
            && self.retry_after.is_none()
            && self.metadata.is_empty()
    }
}

/// A message in the contract's JSON: names as in the protos, enums by name, integers as numbers, defaults written.
pub(crate) struct Json<'a>(pub(crate) &'a DynamicMessage);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const OPTIONS: SerializeOptions = SerializeOptions::new()
            .use_proto_field_name(true)
            .stringify_64_bit_integers(false)
            .skip_default_fields(false);
        self.0.serialize_with_options(serializer, &OPTIONS)
    }
}

/// An answer that is a document of its own.
pub(crate) fn document(message: &DynamicMessage) -> Result<Response, Status> {
    let body = serde_json::to_vec(&Json(message))
        .map_err(|error| Status::internal(format!("the answer has no JSON: {error}")))?;
    Ok(json(StatusCode::OK, body.into()))
}

/// The answer of a service.
pub(crate) fn success(message: &DynamicMessage, id: &RequestId) -> Result<Response, Status> {
    let token = message.get_field_by_name("next_page_token");
    let token = token.as_deref().and_then(|token| token.as_str()).filter(|token| !token.is_empty());
    let pagination = token.map(|token| Pagination { next_page_token: token.to_owned() });
    let body = serde_json::to_vec(&succeeded(Json(message), id, pagination))
        .map_err(|error| Status::internal(format!("the answer has no JSON: {error}")))?;
    Ok(json(StatusCode::OK, body.into()))
}

/// An answer that the edge gives itself.
pub(crate) fn own<D: Serialize>(data: D, id: &RequestId) -> Response {
    axum::Json(succeeded(data, id, None)).into_response()
}

/// A failure.
pub(crate) fn failure(failure: &Failure, id: &RequestId) -> Response {
    json(failure.status, failure_json(failure, id).into())
}

/// A failure as text: one line of JSON.
pub(crate) fn failure_json(failure: &Failure, id: &RequestId) -> String {
    let envelope = Envelope::<()> {
        success: false,
        data: None,
        error: Some(&failure.message),
        error_code: Some(&failure.reason),
        message: Some(&failure.message),
        details: Some(&failure.details).filter(|details| !details.is_empty()),
        request_id: id.as_str(),
        timestamp: now(),
        pagination: None,
    };
    serde_json::to_string(&envelope).unwrap_or_default()
}

fn succeeded<D>(data: D, id: &RequestId, pagination: Option<Pagination>) -> Envelope<'_, D> {
    Envelope {
        success: true,
        data: Some(data),
        error: None,
        error_code: None,
        message: None,
        details: None,
        request_id: id.as_str(),
        timestamp: now(),
        pagination,
    }
}

fn json(status: StatusCode, body: Body) -> Response {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn now() -> String {
    jiff::Timestamp::from_microsecond(shared::time::now().0).unwrap_or_default().to_string()
}
