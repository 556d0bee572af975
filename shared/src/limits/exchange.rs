//! Tells other processes through Redis what was counted here, and hears what they counted; by a task of its own.
//!
//! Each counter is a hash in Redis with a field for each process, written and read in one script. What was counted is
//! told at once, what is under way again every few seconds. Redis is away when it gives no answer within two seconds,
//! and slow above a tenth of one: then leases bind nobody, every process keeps the limits by itself, and health and
//! `tollgate_limits_shared` say so. A mark in Redis tells whether it is still the one that was told before: one that has
//! forgotten is told everything again.

use super::{Gate, Ticket, load};
use crate::{
    health::{Condition, Health, Kind, Reporter},
    redis::{self, Config, connection::again},
    server::Tasks,
    telemetry::meter,
};
use fred::{
    clients::Client,
    interfaces::ClientLike,
    types::{ClusterHash, CustomCommand, Value, config::Config as Address},
};
use futures_util::future::join_all;
use limits::share::{BELIEVED, Heard, Report};
use opentelemetry::metrics::{Counter, Gauge};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Counters in one exchange.
const AT_ONCE: usize = 256;
/// Between two looks whether Redis is there and the same, when there is nothing to tell.
const BEAT: Duration = Duration::from_secs(1);
/// Above this an exchange is too slow to be decided by.
const SLOW: Duration = Duration::from_millis(100);
/// Between two exchanges, so that what is counted often is told together.
const PAUSE: Duration = Duration::from_millis(2);
/// Beats between two reminders of what is under way; others believe it for ten seconds.
const REMIND: u32 = 3;
/// For how long a clearing is known.
const CLEARED: Duration = Duration::from_secs(2 * 86_400);

const TELL: &str = include_str!("exchange/tell.lua");
const CLEAR: &str = include_str!("exchange/clear.lua");
const MARK: &str = include_str!("exchange/mark.lua");

/// What the rest of the gate knows of the exchange.
#[derive(Debug, Default)]
pub(super) struct Facts {
    on: AtomicBool,
    clears: Mutex<Vec<String>>,
}

impl Facts {
    /// Whether there is anybody to tell.
    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }
}

impl Gate {
    /// Has counters cleared in all processes, soon. Returns whether there is a Redis to do it through.
    pub fn clear_everywhere(&self, names: Vec<String>) -> bool {
        let shared = self.0.exchanged.is_on();
        if shared {
            self.0.exchanged.clears.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
            self.0.news.notify_one();
        }
        shared
    }

    /// Whether counters are shared with other processes now.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.0.exchanged.is_on()
    }
}

/// Watches the load of the machine, and shares the counters where a Redis is configured, until the process ends.
pub fn start(gate: &Gate, config: &Config, tasks: &Tasks, health: &Health) {
    load::watch(gate, tasks);
    let meter = meter();
    let shared = meter.i64_gauge("tollgate.limits.shared");
    let shared = shared.with_description("Whether limits are shared with other processes: 1 or 0").build();
    let waits = meter.u64_counter("tollgate.limits.redis.waits");
    let waits = waits.with_description("Decisions that had to wait for Redis").build();
    shared.record(0, &[]);
    waits.add(0, &[]);
    let Some(address) = config.address().ok().flatten() else { return };
    let exchange = Exchange {
        gate: gate.clone(),
        address,
        replica: Uuid::new_v4().to_string(),
        health: health.component("limits", false).of(Kind::Redis),
        shared,
        waits,
        told: meter
            .u64_counter("tollgate.limits.exchanges")
            .with_description("Times that counters were told and heard over Redis, by outcome")
            .build(),
    };
    let stop = tasks.stopping();
    tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = exchange.on() => {}
        }
    });
}

struct Exchange {
    gate: Gate,
    address: Address,
    replica: String,
    health: Reporter,
    shared: Gauge<i64>,
    waits: Counter<u64>,
    told: Counter<u64>,
}

/// Redis gave no answer, or none that is understood.
struct Away;

impl Exchange {
    async fn on(&self) {
        let with = |client: Client| async move {
            let mut proved = false;
            let Err(Away) = self.with(&client, &mut proved).await;
            proved
        };
        match again(&self.address, with, || self.shared_is(false, "Redis cannot be reached")).await {}
    }

    /// Exchanges until Redis gives no answer any more.
    async fn with(&self, client: &Client, proved: &mut bool) -> Result<std::convert::Infallible, Away> {
        let (mut mark, mut beats) = (None, 0_u32);
        // Whoever tells first of what was forgotten hears nothing of the others: all of it is told once more.
        let mut again = true;
        let mut beat = Instant::now();
        loop {
            if mark.is_none() || beat.elapsed() >= BEAT {
                beat = Instant::now();
                beats += 1;
                let found = self.mark(client).await?;
                let other = mark.replace(found.clone()).is_some_and(|known| known != found);
                self.judge(beat.elapsed(), other);
                if *proved && std::mem::replace(&mut again, other) {
                    self.gate.lock().tell_all();
                }
                *proved = true;
                if beats.is_multiple_of(REMIND) {
                    self.gate.lock().remind();
                }
            }
            self.clear(client).await?;
            let news = self.gate.lock().has_news();
            if news {
                let began = Instant::now();
                self.tell(client).await?;
                self.judge(began.elapsed(), false);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let rest = BEAT.saturating_sub(beat.elapsed());
            // Whether there is news is looked at in any case.
            let _ = tokio::time::timeout(rest, self.gate.0.news.notified()).await;
        }
    }

    /// An exchange took so long, and perhaps with a Redis that has forgotten what it was told.
    fn judge(&self, took: Duration, other: bool) {
        self.health.took(took);
        if took > SLOW {
            self.gate.0.exchanged.on.store(true, Ordering::Relaxed);
            self.gate.lock().share(true, false);
            self.says(false, &format!("Redis is slow: an exchange took {} ms", took.as_millis()));
            return;
        }
        self.shared_is(true, "");
        if other {
            tracing::warn!("Redis has forgotten what was counted; it is told again");
            self.gate.lock().tell_all();
        }
    }

    fn shared_is(&self, shared: bool, why: &str) {
        self.gate.0.exchanged.on.store(shared, Ordering::Relaxed);
        self.gate.lock().share(shared, shared);
        self.says(shared, why);
    }

    fn says(&self, shared: bool, why: &str) {
        self.shared.record(i64::from(shared), &[]);
        self.health.set(match shared {
            true => Condition::Up,
            false => Condition::Degraded(format!("{why}; every process keeps the limits by itself")),
        });
    }

    async fn mark(&self, client: &Client) -> Result<Vec<String>, Away> {
        let key = format!("{}:mark", self.prefix());
        self.ask(client, MARK, key, vec![self.replica.clone().into()]).await
    }

    async fn clear(&self, client: &Client) -> Result<(), Away> {
        let clears = {
            let mut clears = self.gate.0.exchanged.clears.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *clears)
        };
        for name in clears {
            let lasts = i64::try_from(CLEARED.as_millis()).unwrap_or(i64::MAX);
            self.ask(client, CLEAR, format!("{}:{name}", self.prefix()), vec![lasts.into()]).await?;
        }
        Ok(())
    }

    async fn tell(&self, client: &Client) -> Result<(), Away> {
        let reports = self.gate.lock().reports(AT_ONCE, self.gate.now());
        let prefix = self.prefix();
        let asked = reports.iter().map(|report| {
            let key = format!("{prefix}:{}", report.name);
            self.ask(client, TELL, key, words(&self.replica, report))
        });
        let answers = join_all(asked).await;
        let (now, mut limiter) = (self.gate.now(), self.gate.lock());
        let mut away = false;
        for (report, answer) in reports.iter().zip(answers) {
            match answer.ok().and_then(|answer| heard(&answer)) {
                Some(heard) => limiter.heard(report.place, &heard, now),
                None => {
                    limiter.unheard(report.place);
                    away = true;
                }
            }
        }
        drop(limiter);
        self.told.add(u64::try_from(reports.len()).unwrap_or(0), &[]);
        if away { Err(Away) } else { Ok(()) }
    }

    /// The only place where anybody waits for Redis.
    async fn ask(
        &self,
        client: &Client,
        script: &'static str,
        key: String,
        words: Vec<Value>,
    ) -> Result<Vec<String>, Away> {
        if Ticket::current().is_some() {
            self.waits.add(1, &[]);
        }
        let command = CustomCommand::new_static("EVAL", ClusterHash::Offset(2), false);
        let mut arguments: Vec<Value> = vec![script.into(), 1.into(), key.into()];
        arguments.extend(words);
        match tokio::time::timeout(redis::LIMIT, client.custom(command, arguments)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::debug!(kind = ?error.kind(), "an exchange with redis failed");
                Err(Away)
            }
            Err(_) => Err(Away),
        }
    }

    /// In braces: of a cluster, one node has all of it, so that its mark tells of all that it may forget.
    fn prefix(&self) -> String {
        format!("{{{}}}", self.gate.lock().settings().sharing.prefix)
    }
}

/// A report as the script takes it: who, what is under way and how long ago how many, how long it lasts, the last clearing.
fn words(replica: &str, report: &Report) -> Vec<Value> {
    let used = report.used.iter().map(|(age, many)| format!("{}:{many}", age.as_millis()));
    let told = format!("{};{}", report.held, used.collect::<Vec<_>>().join(","));
    let lasts = i64::try_from(report.lasts.as_millis()).unwrap_or(i64::MAX);
    let cleared = i64::try_from(report.cleared).unwrap_or(i64::MAX);
    vec![replica.into(), told.into(), lasts.into(), cleared.into()]
}

/// What the script answers: the last clearing, and of each other process how long ago it told what.
fn heard(answer: &[String]) -> Option<Heard> {
    let (cleared, others) = answer.split_first()?;
    let mut heard = Heard { cleared: cleared.parse().ok()?, ..Heard::default() };
    for other in others {
        let mut parts = other.splitn(3, ';');
        let since = Duration::from_millis(parts.next()?.parse().ok()?);
        let held: u64 = parts.next()?.parse().ok()?;
        if since < BELIEVED {
            heard.held += held;
        }
        for used in parts.next()?.split(',').filter(|used| !used.is_empty()) {
            let (age, many) = used.split_once(':')?;
            let age = Duration::from_millis(age.parse().ok()?);
            heard.used.push((since + age, many.parse().ok()?));
        }
    }
    Some(heard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_told_is_read_with_its_age() {
        let said = ["7", "1500;2;0:3,2000:1", "20000;5;", "0;0;60000:9"].map(str::to_owned);
        let heard = heard(&said).unwrap();
        let millis = Duration::from_millis;
        assert_eq!((heard.cleared, heard.held), (7, 2), "what is under way is believed for a while");
        assert_eq!(heard.used, [(millis(1_500), 3), (millis(3_500), 1), (millis(60_000), 9)]);
        for bad in ["", "x;0;", "1;0", "1;0;5", "1;0;5:y"] {
            assert_eq!(super::heard(&["0".to_owned(), bad.to_owned()]), None, "{bad}");
        }
    }
}
