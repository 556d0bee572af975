//! The routes of the contract, read from the `google.api.http` annotations when the edge is built.

use super::path::Template;
use crate::{Error, error::Rejection, upstream::Owners};
use http::{Method, uri::PathAndQuery};
use prost_reflect::{DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, MethodDescriptor};
use shared::channel::Channel;

/// Verbs that an annotation may name.
const VERBS: [(&str, Method); 5] = [
    ("get", Method::GET),
    ("put", Method::PUT),
    ("post", Method::POST),
    ("delete", Method::DELETE),
    ("patch", Method::PATCH),
];

/// One way in to one method.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) verb: Method,
    pub(crate) template: Template,
    pub(crate) body: Body,
    pub(crate) method: MethodDescriptor,
    /// `/package.Service/Method`.
    pub(crate) grpc_path: PathAndQuery,
    pub(crate) channel: Channel,
    /// Whether the method has another way in that comes first.
    pub(crate) is_additional: bool,
}

/// What of the message stands in the request's body.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// Nothing; the query has the fields that the path has not.
    None,
    /// Everything that the path has not.
    Whole,
    /// One field; the query has the others.
    Field(FieldDescriptor),
}

impl Route {
    /// Whether the answer is a document of its own, known by its path, that others read without an envelope.
    pub(crate) fn is_document(&self) -> bool {
        self.template.is_file("json")
    }
}

/// A route with what stands in the holes of its path.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) route: &'a Route,
    pub(crate) captures: Vec<(&'a str, &'a str)>,
}

/// Every route, the most exact first.
#[derive(Debug)]
pub(crate) struct Routes(Vec<Route>);

impl Routes {
    /// Reads the contract.
    pub(crate) fn from_contract(owners: &Owners) -> Result<Self, Error> {
        Self::from_descriptors(&DescriptorPool::decode(proto::DESCRIPTORS)?, owners)
    }

    fn from_descriptors(pool: &DescriptorPool, owners: &Owners) -> Result<Self, Error> {
        let mut routes = Vec::new();
        if let Some(http) = pool.get_extension_by_name("google.api.http") {
            for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
                routes.extend(of_method(&method, &http, owners)?);
            }
        }
        routes.sort_by_key(|route| route.template.looseness());
        Ok(Self(routes))
    }

    /// The route of a request.
    pub(crate) fn find<'a>(&'a self, verb: &Method, path: &'a str) -> Result<Found<'a>, Rejection> {
        let mut allow = Vec::new();
        for route in &self.0 {
            if let Some(captures) = route.template.matches(path) {
                if route.verb == verb {
                    return Ok(Found { route, captures });
                }
                allow.push(route.verb.as_str());
            }
        }
        if allow.is_empty() {
            return Err(Rejection::NoRoute);
        }
        allow.sort_unstable();
        allow.dedup();
        Err(Rejection::Method { allow: allow.join(", ") })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }
}

fn of_method(
    method: &MethodDescriptor,
    http: &ExtensionDescriptor,
    owners: &Owners,
) -> Result<Vec<Route>, Error> {
    let options = method.options();
    if !options.has_extension(http) {
        return Ok(Vec::new());
    }
    let fail = |problem| Error::Annotation { method: method.full_name().to_owned(), problem };
    if method.is_client_streaming() {
        return Err(fail("a stream of requests has no form in REST"));
    }
    let rule = options.get_extension(http);
    let rule = rule.as_message().ok_or_else(|| fail("google.api.http is not a message"))?;
    let more = rule.get_field_by_name("additional_bindings");
    let more = more.as_deref().and_then(|more| more.as_list()).unwrap_or_default();
    let mut routes: Vec<Route> = std::iter::once(rule)
        .chain(more.iter().filter_map(|more| more.as_message()))
        .map(|rule| of_rule(rule, method, owners).map_err(fail))
        .collect::<Result<_, _>>()?;
    routes.iter_mut().skip(1).for_each(|route| route.is_additional = true);
    Ok(routes)
}

fn of_rule(rule: &DynamicMessage, method: &MethodDescriptor, owners: &Owners) -> Result<Route, &'static str> {
    if rule.has_field_by_name("response_body") {
        return Err("response_body is not supported");
    }
    let (verb, template) = verb_and_template(rule).ok_or("this path or verb is not supported")?;
    if template.variables().any(|field| !is_scalar(method, field)) {
        return Err("the path names what is not a scalar field of the request");
    }
    let service = method.parent_service();
    let grpc_path = format!("/{}/{}", service.full_name(), method.name());
    Ok(Route {
        verb,
        template,
        body: body_of(rule, method).ok_or("the body names a field that there is not")?,
        method: method.clone(),
        grpc_path: grpc_path.parse().map_err(|_| "its name is not a path")?,
        channel: owners.of(service.package_name()).ok_or("no service owns this package")?.clone(),
        is_additional: false,
    })
}

fn verb_and_template(rule: &DynamicMessage) -> Option<(Method, Template)> {
    VERBS.iter().find(|(name, _)| rule.has_field_by_name(name)).and_then(|(name, verb)| {
        let path = rule.get_field_by_name(name)?;
        Some((verb.clone(), Template::parse(path.as_str()?)?))
    })
}

fn body_of(rule: &DynamicMessage, method: &MethodDescriptor) -> Option<Body> {
    let body = rule.get_field_by_name("body")?;
    match body.as_str()? {
        "" => Some(Body::None),
        "*" => Some(Body::Whole),
        name => Some(Body::Field(method.input().get_field_by_name(name)?)),
    }
}

fn is_scalar(method: &MethodDescriptor, field: &str) -> bool {
    let mut message = Some(method.input());
    let mut found = None;
    for step in field.split('.') {
        found = message.and_then(|message| message.get_field_by_name(step));
        message = found.as_ref().and_then(|field| field.kind().as_message().cloned());
    }
    found.is_some_and(|field| !field.is_list() && field.kind().as_message().is_none())
}

#[cfg(test)]
mod tests;
