//! What this gateway refuses, on its way to monitoring, which answers why.
//!
//! Refusals are held in memory and sent every second; whoever is refused waits for none of that. They are bounded twice:
//! all of a second, and those of one caller, so that a flood of one hides nobody else's.

use crate::metrics;
use policy::UserId;
use proto::monitoring::v1::{RecordRefusalsRequest, Refusal, request_service_client::RequestServiceClient};
use shared::{
    channel::Channel,
    server::Tasks,
    telemetry::{Hear, Refused},
    time,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tonic::Request;
use uuid::Uuid;

/// How often they are sent.
const EVERY: Duration = Duration::from_secs(1);
/// Refusals of one caller that are kept of the time between two deliveries.
const OF_ONE: u32 = 100;
/// Refusals that are kept of that time, and in one call.
const AT_ONCE: usize = 1_000;
/// Refusals that wait while monitoring is away; what comes then is counted, and dropped.
const MOST: usize = 20_000;
/// Longest sentence that is kept, in characters.
const SENTENCE: usize = 1_000;
/// One call may take so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was refused and is not at monitoring yet. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusals(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    waiting: Vec<Refusal>,
    /// How many were kept of each caller since the last delivery.
    kept: HashMap<UserId, u32>,
    /// The same of all.
    all: usize,
}

impl Hear for Refusals {
    fn refused(&self, refused: Refused) {
        let mut held = self.lock();
        let full = held.all >= AT_ONCE || held.waiting.len() >= MOST;
        let of_one = held.kept.entry(refused.person.user).or_default();
        if full || *of_one >= OF_ONE {
            metrics::refusal_dropped();
            return;
        }
        *of_one += 1;
        held.all += 1;
        held.waiting.push(message(refused));
    }
}

impl Refusals {
    /// Sends them to monitoring until the process ends, and once more then.
    pub(crate) fn start(&self, monitoring: Channel, tasks: &Tasks) {
        let (refusals, stop) = (self.clone(), tasks.stopping());
        let mut client = RequestServiceClient::new(monitoring);
        tasks.spawn(async move {
            loop {
                let last = tokio::select! {
                    () = stop.cancelled() => true,
                    () = tokio::time::sleep(EVERY) => false,
                };
                refusals.send(&mut client).await;
                if last {
                    return;
                }
            }
        });
    }

    async fn send(&self, client: &mut RequestServiceClient<Channel>) {
        let mut waiting = {
            let mut held = self.lock();
            held.kept.clear();
            held.all = 0;
            std::mem::take(&mut held.waiting)
        };
        while !waiting.is_empty() {
            let part = waiting.len().min(AT_ONCE);
            let mut request = Request::new(RecordRefusalsRequest { refusals: waiting[..part].to_vec() });
            request.set_timeout(PATIENCE);
            match client.record_refusals(request).await {
                Ok(_) => drop(waiting.drain(..part)),
                Err(status) if status.code() == tonic::Code::InvalidArgument => {
                    tracing::error!(message = status.message(), "monitoring does not take a refusal");
                    waiting.drain(..part);
                }
                Err(status) => {
                    tracing::debug!(%status, "refusals could not be sent; they are tried again");
                    let mut held = self.lock();
                    waiting.append(&mut held.waiting);
                    held.waiting = waiting;
                    return;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn message(
    Refused { request_id, person, route, learned, told, start, duration, trace_id }: Refused,
) -> Refusal {
    Refusal {
        refusal_id: Uuid::now_v7().to_string(),
        request_id,
        user_id: person.user.to_string(),
        key_id: person.key.map(|key| key.to_string()).unwrap_or_default(),
        route,
        model: learned.model,
        priority: learned.priority.to_owned(),
        waiting: learned.waiting,
        message: sentence(&told.reason, &told.message),
        reason: told.reason,
        start_time: Some(time::to_proto(start)),
        duration: Some(time::duration_to_proto(duration)),
        trace_id: trace_id.unwrap_or_default(),
    }
}

/// What may be kept of a sentence: some quote what the caller sent, which is kept nowhere.
fn sentence(reason: &str, message: &str) -> String {
    let kept = match reason {
        "ENGINE_REFUSED" => "an engine refused the request; its answer said why",
        "BODY_MALFORMED" => "the body was not what the route reads; its answer said why",
        _ => message,
    };
    kept.chars().filter(|letter| !letter.is_control()).take(SENTENCE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::{Role, Scopes, Time};
    use shared::{
        auth::Person,
        telemetry::{Learned, Told},
    };

    fn refuse(refusals: &Refusals, user: u128, reason: &str) {
        let user = UserId(Uuid::from_u128(user));
        refusals.refused(Refused {
            request_id: "id".into(),
            person: Person { user, key: None, session: None, role: Role::Member, scopes: Scopes::ALL },
            route: "/v1/chat/completions".into(),
            learned: Learned::default(),
            told: Told { reason: reason.into(), message: "`my secret` is no number".into() },
            start: Time(0),
            duration: Duration::ZERO,
            trace_id: None,
        });
    }

    #[test]
    fn a_flood_of_one_caller_hides_nobody_else_and_all_are_bounded() {
        let refusals = Refusals::default();
        for _ in 0..10_000 {
            refuse(&refusals, 1, "RATE_LIMITED");
        }
        refuse(&refusals, 2, "QUEUE_FULL");
        assert_eq!(refusals.lock().waiting.len(), OF_ONE as usize + 1);
        for user in 3..3_000 {
            refuse(&refusals, user, "QUEUE_FULL");
        }
        assert_eq!(refusals.lock().waiting.len(), AT_ONCE);
    }

    #[test]
    fn what_a_caller_sent_is_not_kept() {
        let refusals = Refusals::default();
        for reason in ["ENGINE_REFUSED", "BODY_MALFORMED", "QUEUE_FULL"] {
            refuse(&refusals, 1, reason);
        }
        let kept =
            refusals.lock().waiting.iter().map(|one| one.message.contains("secret")).collect::<Vec<_>>();
        assert_eq!(kept, [false, false, true]);
    }
}
