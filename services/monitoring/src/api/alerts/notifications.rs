//! `NotificationService`, call by call.

use super::{AlertApi, etag};
use crate::{
    alerting::{
        letter::{Content, Letter, Target},
        routing::Routed,
    },
    api::field,
    config::Receiver,
    error::Violation,
};
use proto::monitoring::v1 as pb;
use shared::{event::Origin, time};
use tonic::{Request, Response, Status};

/// Characters of a subject and of a text; addresses of a mail.
const MAX: (usize, usize, usize) = (200, 20_000, 100);

#[tonic::async_trait]
impl pb::notification_service_server::NotificationService for AlertApi {
    async fn notify(
        &self,
        request: Request<pb::NotifyRequest>,
    ) -> Result<Response<pb::NotifyResponse>, Status> {
        let asked = request.into_inner();
        let name = field::optional_id("request_id", &asked.request_id)?;
        let id = self.0.notify(&letter(asked)?, name, time::now()).await?;
        Ok(Response::new(pb::NotifyResponse { notification_id: id.to_string() }))
    }

    async fn list_receivers(
        &self,
        _request: Request<pb::ListReceiversRequest>,
    ) -> Result<Response<pb::ListReceiversResponse>, Status> {
        let (receivers, waiting) = self.0.receivers().await?;
        let receivers = receivers.into_iter().map(|(name, receiver)| {
            let kind = match receiver {
                Receiver::Email { .. } => pb::ReceiverKind::Email,
                Receiver::Slack { .. } => pb::ReceiverKind::Slack,
                Receiver::Webhook { .. } => pb::ReceiverKind::Webhook,
            };
            pb::Receiver { name: name.to_owned(), kind: kind.into() }
        });
        Ok(Response::new(pb::ListReceiversResponse { receivers: receivers.collect(), waiting }))
    }

    async fn test_receiver(
        &self,
        request: Request<pb::TestReceiverRequest>,
    ) -> Result<Response<pb::TestReceiverResponse>, Status> {
        let tested = self.0.test_receiver(&request.get_ref().receiver).await?;
        let delivered = tested.is_ok();
        Ok(Response::new(pb::TestReceiverResponse { delivered, problem: tested.err().unwrap_or_default() }))
    }

    async fn get_alert_routing(
        &self,
        _request: Request<pb::GetAlertRoutingRequest>,
    ) -> Result<Response<pb::GetAlertRoutingResponse>, Status> {
        let routing = Some(described(&self.0.routing().await?));
        Ok(Response::new(pb::GetAlertRoutingResponse { routing }))
    }

    async fn put_alert_routing(
        &self,
        request: Request<pb::PutAlertRoutingRequest>,
    ) -> Result<Response<pb::PutAlertRoutingResponse>, Status> {
        let origin = Origin::of(&request, "")?;
        let asked = request.into_inner();
        let routed = self.0.put_routing(&asked.json, etag(&asked.etag)?, &origin).await?;
        Ok(Response::new(pb::PutAlertRoutingResponse { routing: Some(described(&routed)) }))
    }
}

fn letter(asked: pb::NotifyRequest) -> Result<Letter, Violation> {
    let to = match (asked.receiver.is_empty(), asked.email.len()) {
        (false, 0) => Target::Receiver(asked.receiver),
        (true, 1..) if asked.email.len() <= MAX.2 => Target::Email(asked.email),
        (true, 1..) => return Err(Violation::new("email", "must be at most 100 addresses")),
        _ => return Err(Violation::new("receiver", "or `email` is needed, and only one of them")),
    };
    if let Target::Email(addresses) = &to {
        let wrong = addresses.iter().position(|address| address.parse::<lettre::message::Mailbox>().is_err());
        if let Some(index) = wrong {
            return Err(Violation::new(format!("email[{index}]"), "must be an address"));
        }
    }
    let subject = field::text("subject", asked.subject, MAX.0)?;
    if subject.is_empty() {
        return Err(Violation::new("subject", "is required"));
    }
    if asked.text.chars().nth(MAX.1).is_some() {
        return Err(Violation::new("text", "must have at most 20,000 characters"));
    }
    Ok(Letter { to, content: Content::Note { subject, text: asked.text } })
}

fn described(routed: &Routed) -> pb::AlertRouting {
    pb::AlertRouting {
        // Names and durations have no way to fail.
        json: serde_json::to_string_pretty(&routed.routing).unwrap_or_default(),
        etag: routed.version.to_string(),
        updated_time: routed.updated.map(time::to_proto),
    }
}
