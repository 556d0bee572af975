//! Calls by the name of a method: the request is JSON, so is the answer; in between it is gRPC like any other.

use super::{
    plan::{Plan, Shape},
    show::Printer,
};
use anyhow::{Context, anyhow, bail};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, SerializeOptions};
use serde_json::{Value, json};
use shared::{channel::Channel, dynamic::DynamicCodec, tls::Objection};
use std::{error::Error, time::Duration};
use tonic::{Request, Status, Streaming, client::Grpc};
use tonic_types::StatusExt;

/// Rows that a list asks for at once.
const PAGE: u32 = 100;

/// Where services are; no two of them have one name.
const PACKAGES: [&str; 4] = ["permissions.v1", "inference.v1", "monitoring.v1", "common.v1"];

/// The methods by name.
#[derive(Debug, Clone)]
pub(crate) struct Contract(DescriptorPool);

impl Contract {
    pub(crate) fn open() -> anyhow::Result<Self> {
        Ok(Self(DescriptorPool::decode(proto::DESCRIPTORS).context("the contract cannot be read")?))
    }

    fn method(&self, name: &str) -> anyhow::Result<MethodDescriptor> {
        let (service, method) = name.split_once('/').context("a method is named Service/Method")?;
        let mut packages = PACKAGES.iter();
        let service =
            packages.find_map(|package| self.0.get_service_by_name(&format!("tollgate.{package}.{service}")));
        let found = service.and_then(|service| service.methods().find(|known| known.name() == method));
        found.with_context(|| format!("this version has no {name}"))
    }
}

/// A server and a contract to call it by.
pub(crate) struct Client {
    contract: Contract,
    channel: Channel,
}

/// Longest time that sending a file may take; without a limit of its own a call has 10 s.
const UPLOAD: Duration = Duration::from_secs(60 * 60);

/// Bytes of a file that are sent at once.
const PIECE: usize = 512 * 1024;

impl Client {
    pub(crate) const fn new(contract: Contract, channel: Channel) -> Self {
        Self { contract, channel }
    }

    /// Calls a method and waits for its one answer.
    pub(crate) async fn unary(&self, method: &str, request: &Value) -> anyhow::Result<Value> {
        let method = self.contract.method(method)?;
        let mut grpc = self.open().await?;
        let codec = DynamicCodec { output: method.output() };
        let answer = grpc.unary(Request::new(message(&method, request)?), path(&method)?, codec).await;
        json(answer.map_err(said)?.get_ref())
    }

    /// Does what a command plans and prints what comes back.
    pub(crate) async fn follow(&self, plan: Plan, printer: Printer) -> anyhow::Result<()> {
        match plan.shape {
            Shape::List { rows, columns } => {
                let all = self.all(plan.method, plan.request, rows).await?;
                printer.table(columns, &all)
            }
            Shape::Thing { field } => {
                let answer = self.unary(plan.method, &plan.request).await?;
                printer.thing(if field.is_empty() { &answer } else { &answer[field] }, &answer)
            }
            Shape::Page { lines } => {
                let answer = self.unary(plan.method, &plan.request).await?;
                printer.page(&lines(&answer), &answer)
            }
            Shape::Done { said } => {
                let answer = self.unary(plan.method, &plan.request).await?;
                printer.done(said, &answer)
            }
            Shape::Stream { row, columns } => {
                self.stream(plan.method, &plan.request, row, columns, printer).await
            }
            Shape::Bytes { field } => self.bytes(plan.method, &plan.request, field, printer).await,
        }
    }

    /// Every row of a list, page after page.
    pub(crate) async fn all(
        &self,
        method: &str,
        mut request: Value,
        rows: &str,
    ) -> anyhow::Result<Vec<Value>> {
        let mut all = Vec::new();
        if self.contract.method(method)?.input().get_field_by_name("page_size").is_some() {
            request["page_size"] = json!(PAGE);
        }
        loop {
            let mut answer = self.unary(method, &request).await?;
            if let Value::Array(page) = answer[rows].take() {
                all.extend(page);
            }
            match answer["next_page_token"].as_str() {
                Some(next) if !next.is_empty() => request["page_token"] = json!(next),
                _ => return Ok(all),
            }
        }
    }

    /// Calls a method that answers again and again.
    pub(crate) async fn watch(&self, method: &str, request: &Value) -> anyhow::Result<Answers> {
        let method = self.contract.method(method)?;
        let mut grpc = self.open().await?;
        let codec = DynamicCodec { output: method.output() };
        let request = Request::new(message(&method, request)?);
        let answers = grpc.server_streaming(request, path(&method)?, codec).await;
        Ok(Answers(answers.map_err(said)?.into_inner()))
    }

    async fn stream(
        &self,
        method: &str,
        request: &Value,
        row: &str,
        columns: &'static [super::plan::Column],
        printer: Printer,
    ) -> anyhow::Result<()> {
        let mut answers = self.watch(method, request).await?;
        printer.head(columns)?;
        while let Some(mut answer) = answers.next().await? {
            let row = if row.is_empty() { answer } else { answer[row].take() };
            if !row.is_null() {
                printer.row(columns, &row)?;
            }
        }
        Ok(())
    }

    async fn bytes(
        &self,
        method: &str,
        request: &Value,
        field: &str,
        printer: Printer,
    ) -> anyhow::Result<()> {
        let method = self.contract.method(method)?;
        let mut grpc = self.open().await?;
        let codec = DynamicCodec { output: method.output() };
        let mut request = Request::new(message(&method, request)?);
        request.set_timeout(UPLOAD);
        let mut answers =
            grpc.server_streaming(request, path(&method)?, codec).await.map_err(said)?.into_inner();
        while let Some(answer) = answers.message().await.map_err(said)? {
            if let Some(bytes) = answer.get_field_by_name(field).as_ref().and_then(|bytes| bytes.as_bytes()) {
                printer.raw(bytes)?;
            }
        }
        Ok(())
    }

    /// Sends a stream of requests and waits for the one answer.
    pub(crate) async fn upload(&self, method: &str, requests: Vec<Value>) -> anyhow::Result<Value> {
        let known = self.contract.method(method)?;
        let messages = requests.iter().map(|request| message(&known, request));
        let messages: Vec<DynamicMessage> = messages.collect::<anyhow::Result<_>>()?;
        self.send(&known, futures_util::stream::iter(messages)).await
    }

    /// Sends how a file begins, then its bytes in a field, and waits for the one answer.
    pub(crate) async fn send_file(
        &self,
        method: &str,
        begin: &Value,
        field: &'static str,
        file: Vec<u8>,
    ) -> anyhow::Result<Value> {
        let known = self.contract.method(method)?;
        let (begin, input) = (message(&known, begin)?, known.input());
        let mut file = bytes::Bytes::from(file);
        let pieces = std::iter::from_fn(move || {
            let piece = file.split_to(file.len().min(PIECE));
            (!piece.is_empty()).then(|| {
                let mut message = DynamicMessage::new(input.clone());
                message.set_field_by_name(field, prost_reflect::Value::Bytes(piece));
                message
            })
        });
        self.send(&known, futures_util::stream::iter(std::iter::once(begin).chain(pieces))).await
    }

    async fn send(
        &self,
        method: &MethodDescriptor,
        messages: impl futures_util::Stream<Item = DynamicMessage> + Send + 'static,
    ) -> anyhow::Result<Value> {
        let mut grpc = self.open().await?;
        let codec = DynamicCodec { output: method.output() };
        let mut requests = Request::new(messages);
        requests.set_timeout(UPLOAD);
        let answer = grpc.client_streaming(requests, path(method)?, codec).await;
        json(answer.map_err(said)?.get_ref())
    }

    async fn open(&self) -> anyhow::Result<Grpc<Channel>> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready().await.map_err(said)?;
        Ok(grpc)
    }
}

/// The answers of a stream.
pub(crate) struct Answers(Streaming<DynamicMessage>);

impl Answers {
    /// The next one; nothing at the end. Whoever stops to wait for it misses nothing.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        self.0.message().await.map_err(said)?.as_ref().map(json).transpose()
    }
}

fn message(method: &MethodDescriptor, request: &Value) -> anyhow::Result<DynamicMessage> {
    DynamicMessage::deserialize(method.input(), request).context("the command does not fit the contract")
}

fn path(method: &MethodDescriptor) -> anyhow::Result<http::uri::PathAndQuery> {
    Ok(format!("/{}/{}", method.parent_service().full_name(), method.name()).parse()?)
}

fn json(message: &DynamicMessage) -> anyhow::Result<Value> {
    const OPTIONS: SerializeOptions = SerializeOptions::new()
        .use_proto_field_name(true)
        .stringify_64_bit_integers(false)
        .skip_default_fields(true);
    Ok(message.serialize_with_options(serde_json::value::Serializer, &OPTIONS)?)
}

/// A refusal as a person reads it: what happened, the fields that are wrong, the reason to look up.
fn said(status: Status) -> anyhow::Error {
    let fields = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    let fields: String =
        fields.iter().map(|field| format!("\n  {}: {}", field.field, field.description)).collect();
    let reason =
        status.get_details_error_info().map(|info| format!(" ({})", info.reason)).unwrap_or_default();
    let cause = status.source().map(innermost).map(|cause| format!(": {cause}")).unwrap_or_default();
    anyhow!("{}{reason}{cause}{fields}", status.message())
}

/// Why, when the fault is on the way: what lies around it only says that it is.
fn innermost(error: &(dyn Error + 'static)) -> String {
    if let Some(objection) = error.downcast_ref::<Objection>() {
        return format!(
            "{objection}; --ca names the authority to trust, --server-name the name to expect, \
             --client-cert and --client-key what to show"
        );
    }
    std::iter::successors(Some(error), |error| (*error).source())
        .last()
        .map_or_else(String::new, ToString::to_string)
}

/// Something that must be there.
pub(crate) fn needed<'a>(value: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    match value[field].as_str() {
        Some(text) => Ok(text),
        None => bail!("the answer has no {field}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_that_a_command_calls_is_in_the_contract() {
        let sources = [
            include_str!("account.rs"),
            include_str!("audit.rs"),
            include_str!("batches.rs"),
            include_str!("engines.rs"),
            include_str!("grants.rs"),
            include_str!("groups.rs"),
            include_str!("health.rs"),
            include_str!("jobs.rs"),
            include_str!("keys.rs"),
            include_str!("log_level.rs"),
            include_str!("login.rs"),
            include_str!("metrics.rs"),
            include_str!("models.rs"),
            include_str!("names.rs"),
            include_str!("queue.rs"),
            include_str!("requests.rs"),
            include_str!("top.rs"),
        ];
        let contract = Contract::open().unwrap();
        let quoted = sources.iter().flat_map(|source| source.split('"'));
        let called: Vec<&str> = quoted.filter(|text| text.contains("Service/")).collect();
        assert!(called.len() > 40);
        for name in called {
            assert!(contract.method(name).is_ok(), "{name}");
        }
    }
}
