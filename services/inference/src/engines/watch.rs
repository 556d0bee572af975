//! What is done about the engines again and again: asking them, judging them, and forgetting those that left.

use super::{
    Engine, EngineId, Fleet,
    engine::Standing,
    outlier::{self, Sample},
};
use crate::{config, metrics};
use shared::health::Reporter;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Between two judgements. Settings that are shorter take effect only so often.
const TICK: Duration = Duration::from_millis(200);

impl Fleet {
    /// Waits until every source has said something, at most for a time, and asks all engines once.
    pub async fn first_look(&self) {
        let complete = async {
            loop {
                let news = self.0.news.notified();
                if self.roster().complete() {
                    return;
                }
                news.await;
            }
        };
        if tokio::time::timeout(self.settings().check_timeout, complete).await.is_err() {
            tracing::warn!("not every source of engines has answered; going on without");
        }
        self.check_all().await;
    }

    /// Watches the engines until the process ends.
    pub fn watch(&self, health: Reporter) {
        let reporter = health.clone();
        self.rounds(
            |config| config.check_interval,
            move |fleet| {
                let health = reporter.clone();
                async move {
                    fleet.check_all().await;
                    health.set(fleet.condition());
                }
            },
        );
        self.rounds(|config| config.scrape_interval, |fleet| async move { fleet.scrape_all().await });
        self.rounds(
            |_| Duration::ZERO,
            |fleet| async move {
                fleet.0.news.notified().await;
                fleet.check_new().await;
            },
        );
        self.rounds(
            |_| TICK,
            move |fleet| {
                let health = health.clone();
                async move {
                    fleet.judge(Instant::now());
                    health.set(fleet.condition());
                }
            },
        );
        self.rounds(|config| config.ejection.interval, |fleet| async move { fleet.compare(Instant::now()) });
        metrics::observe_engines(self);
    }

    /// Does something again and again until the process ends. From one beginning to the next it is a time that may change,
    /// or as long as it takes when that is longer.
    fn rounds<F, Fut>(&self, every: fn(&config::Engine) -> Duration, mut round: F)
    where
        F: FnMut(Fleet) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send,
    {
        let (fleet, stop) = (self.clone(), self.0.tasks.stopping());
        self.0.tasks.spawn(async move {
            let rounds = async {
                loop {
                    let begun = tokio::time::Instant::now();
                    round(fleet.clone()).await;
                    tokio::time::sleep_until(begun + every(&fleet.settings())).await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = rounds => {}
            }
        });
    }

    /// What time alone changes; probes are sent where they are due.
    fn judge(&self, now: Instant) {
        for engine in self.all() {
            if engine.judge(now) {
                let (fleet, stop) = (self.clone(), self.0.tasks.stopping());
                self.0.tasks.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = fleet.probe(engine) => {}
                    }
                });
            }
        }
        self.dismiss();
    }

    /// Compares engines with their peers, and ejects those that do far worse.
    fn compare(&self, now: Instant) {
        let config = self.settings();
        let all: BTreeMap<EngineId, Arc<Engine>> =
            self.all().into_iter().map(|engine| (engine.id, engine)).collect();
        let mut groups: BTreeMap<Vec<String>, Vec<Sample>> = BTreeMap::new();
        for engine in all.values() {
            let mut state = engine.state();
            let window = std::mem::take(&mut state.window);
            let standing = engine.standing(&state);
            let peers = state.sight.models.keys().cloned().collect();
            let ejected = standing == Standing::Ejected;
            if ejected || standing == Standing::Healthy {
                groups.entry(peers).or_default().push(Sample { engine: engine.id, ejected, window });
            }
        }
        for (engine, reason) in groups.values().flat_map(|peers| outlier::outliers(peers, &config.ejection)) {
            if let Some(engine) = all.get(&engine) {
                engine.update(|state, config| state.ejection.eject(reason, now, &config.ejection));
            }
        }
    }
}

impl Engine {
    /// Notes what time alone says. Returns whether a probe is to be sent now.
    fn judge(&self, now: Instant) -> bool {
        self.update(|state, config| {
            state.ejection.tick(now);
            let config = &config.probe;
            let since_probe = state.probed.map(|probed| now.saturating_duration_since(probed));
            let rested = |time: Duration| since_probe.is_none_or(|since| since >= time);
            if let Some((streams, since)) = self.pulse.silence(now)
                && since >= config.silence
                && rested(config.silence)
            {
                state.health.silent(streams, since);
            }
            if state.probing || !state.health.answers() || state.leaving.is_some() {
                return false;
            }
            let quiet = now.saturating_duration_since(state.heard);
            let idle = !config.idle.is_zero()
                && quiet >= config.idle
                && rested(config.idle)
                && self.standing(state) == Standing::Healthy;
            let due = state.breaker.half_open(now)
                || (state.health.suspicious() && rested(config.interval))
                || idle;
            if due {
                (state.probing, state.probed) = (true, Some(now));
            }
            due
        })
    }
}
