//! Telling somebody: mail, Slack, webhooks. A message either arrives, may be tried again, or never will arrive.

mod email;
mod slack;
mod webhook;

use crate::{
    alerting::letter::{Content, Letter, Target},
    config::{self, Alerts},
};
use bytes::Bytes;
use email::Mail;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use opentelemetry::{KeyValue, metrics::Counter};
use shared::{
    config::{ExposeSecret, SecretString},
    telemetry,
    tls::{Connector, Dialer, Protocol},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
    time::Duration,
};
use uuid::Uuid;

/// Longest time until a connection is there, and until a message is taken.
const CONNECT: Duration = Duration::from_secs(5);
const TAKE: Duration = Duration::from_secs(15);
/// Of an answer nothing is needed but that it ended.
const ANSWER: usize = 64 * 1024;
/// A receiver that asks for more patience than this has it all the same only so long.
const LONGEST: Duration = Duration::from_secs(3_600);

static SENT: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = telemetry::meter();
    let sent = meter.u64_counter("tollgate.alerts.notifications").with_unit("{notification}");
    sent.with_description("Attempts to tell a receiver, by what came of it").build()
});
static FAILED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = telemetry::meter();
    let failed = meter.u64_counter("tollgate.alerts.notifications_failed").with_unit("{notification}");
    failed.with_description("Messages that were given up, by receiver and reason").build()
});

/// Why a message did not arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Undelivered {
    /// In SCREAMING_CASE.
    pub(crate) reason: &'static str,
    /// A sentence, without secrets.
    pub(crate) problem: String,
    /// Whether and after how long at the earliest it may be tried again.
    pub(crate) again: Option<Duration>,
}

impl Undelivered {
    fn passing(reason: &'static str, problem: impl Into<String>) -> Self {
        Self { reason, problem: problem.into(), again: Some(Duration::ZERO) }
    }

    fn lasting(reason: &'static str, problem: impl Into<String>) -> Self {
        Self { reason, problem: problem.into(), again: None }
    }
}

/// Everybody who can be told.
#[derive(Clone)]
pub(crate) struct Receivers(Arc<Inner>);

struct Inner {
    by_name: BTreeMap<String, config::Receiver>,
    mail: Option<Mail>,
    client: Client<Connector, Full<Bytes>>,
}

impl std::fmt::Debug for Receivers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.0.by_name.keys()).finish()
    }
}

impl Receivers {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// One sentence, when one of them cannot be used.
    pub(crate) fn open(config: &Alerts) -> Result<Self, String> {
        let dialer = Dialer::open(&config.tls, "monitoring.alerts.tls").map_err(|fault| fault.to_string())?;
        let connector = dialer.connector(Protocol::Http1, CONNECT);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let mail = (!config.smtp.host.is_empty()).then(|| Mail::open(&config.smtp)).transpose()?;
        Ok(Self(Arc::new(Inner { by_name: config.receivers.clone(), mail, client })))
    }

    /// All of them, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &config::Receiver)> {
        self.0.by_name.iter().map(|(name, receiver)| (name.as_str(), receiver))
    }

    /// Whether there is one of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.by_name.contains_key(name)
    }

    /// Whether mail can be sent.
    pub(crate) fn has_mail(&self) -> bool {
        self.0.mail.is_some()
    }

    /// Sends a letter. `id` is the same for each attempt, so that receivers can tell a repetition.
    ///
    /// # Errors
    /// Why it did not arrive.
    pub(crate) async fn send(&self, letter: &Letter, id: Uuid) -> Result<(), Undelivered> {
        let sent = tokio::time::timeout(TAKE, self.try_send(letter, id)).await;
        let sent = sent.unwrap_or_else(|_| {
            Err(Undelivered::passing("RECEIVER_SLOW", "it did not take the message within 15 s"))
        });
        let outcome = match &sent {
            Ok(()) => "delivered",
            Err(Undelivered { again: Some(_), .. }) => "again",
            Err(_) => "refused",
        };
        SENT.add(1, &[KeyValue::new("receiver", letter.to.label()), KeyValue::new("outcome", outcome)]);
        sent
    }

    async fn try_send(&self, letter: &Letter, id: Uuid) -> Result<(), Undelivered> {
        let gone = || {
            Undelivered::lasting(
                "RECEIVER_UNKNOWN",
                "there is no such receiver in the configuration any more",
            )
        };
        let receiver = match &letter.to {
            Target::Email(to) => return self.mail(to, &letter.content, id).await,
            Target::Receiver(name) => self.0.by_name.get(name).ok_or_else(gone)?,
        };
        match receiver {
            config::Receiver::Email { to } => self.mail(to, &letter.content, id).await,
            config::Receiver::Slack { url, channel } => {
                let body = slack::body(&letter.content, channel);
                self.post(&read(url)?, HeaderMap::new(), body).await
            }
            config::Receiver::Webhook { url, secret } => {
                let body = webhook::body(&letter.content);
                let secret =
                    secret.read().map_err(|fault| Undelivered::passing("SECRET_UNREADABLE", fault))?;
                self.post(&read(url)?, webhook::headers(&body, secret.as_ref(), id), body).await
            }
        }
    }

    async fn mail(&self, to: &[String], content: &Content, id: Uuid) -> Result<(), Undelivered> {
        let none = || Undelivered::lasting("MAIL_NOT_CONFIGURED", "monitoring.alerts.smtp.host is not set");
        self.0.mail.as_ref().ok_or_else(none)?.send(to, content, id).await
    }

    async fn post(&self, url: &SecretString, headers: HeaderMap, body: Vec<u8>) -> Result<(), Undelivered> {
        let request = Request::post(url.expose_secret())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "tollgate");
        let mut request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| Undelivered::lasting("RECEIVER_URL_INVALID", "its URL cannot be asked"))?;
        request.headers_mut().extend(headers);
        let answer = self.0.client.request(request).await.map_err(|error| {
            tracing::debug!(error = &error as &dyn std::error::Error, "a receiver was not reached");
            Undelivered::passing("RECEIVER_UNREACHABLE", "it cannot be reached")
        })?;
        let (head, body) = answer.into_parts();
        // Read to its end, so that the connection can be used again.
        drop(Limited::new(body, ANSWER).collect().await);
        judged(head.status, &head.headers)
    }
}

fn read(url: &shared::config::Secret) -> Result<SecretString, Undelivered> {
    let url = url.read().map_err(|fault| Undelivered::passing("SECRET_UNREADABLE", fault))?;
    url.ok_or_else(|| Undelivered::lasting("RECEIVER_URL_INVALID", "it has no URL"))
}

/// What an answer means: 5xx, 408 and 429 are tried again, and not before `Retry-After` says; other refusals stay.
fn judged(status: StatusCode, headers: &HeaderMap) -> Result<(), Undelivered> {
    if status.is_success() {
        return Ok(());
    }
    let problem = format!("it answered {}", status.as_u16());
    let passing = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    if !passing {
        return Err(Undelivered::lasting("RECEIVER_REFUSED", problem));
    }
    let after = headers.get(header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.trim().parse().ok());
    let again = Duration::from_secs(after.unwrap_or(0)).min(LONGEST);
    Err(Undelivered { reason: "RECEIVER_BUSY", problem, again: Some(again) })
}

/// Notes that a message was given up.
pub(crate) fn given_up(receiver: &str, reason: &str) {
    let labels = [KeyValue::new("receiver", receiver.to_owned()), KeyValue::new("reason", reason.to_owned())];
    FAILED.add(1, &labels);
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn answers_that_may_change_are_tried_again_when_they_say() {
        let of = |status: u16, after: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.extend(after.map(|after| (header::RETRY_AFTER, HeaderValue::from_static(after))));
            judged(StatusCode::from_u16(status).unwrap(), &headers).map_err(|why| why.again)
        };
        assert_eq!(of(204, None), Ok(()));
        for (status, after, seconds) in [
            (500, None, 0),
            (503, Some("7"), 7),
            (429, Some("30"), 30),
            (429, Some("soon"), 0),
            (429, Some("999999"), 3_600),
        ] {
            assert_eq!(of(status, after), Err(Some(Duration::from_secs(seconds))), "{status}");
        }
        for status in [301, 400, 401, 404, 410, 422] {
            assert_eq!(of(status, Some("7")), Err(None), "{status}");
        }
    }
}
