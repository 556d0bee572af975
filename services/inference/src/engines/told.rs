//! What monitoring is told of each engine.

use super::{Engine, Fleet, Standing};
use shared::health::{Beside, Component, Condition, Health, Kind};

impl Fleet {
    /// Has the engines be part of what is told of this process.
    pub fn tell(&self, health: &Health) {
        let fleet = self.downgrade();
        health.also(move || {
            let all = fleet.upgrade().map(|fleet| fleet.all()).unwrap_or_default();
            all.iter().map(|engine| told(engine)).collect()
        });
    }
}

fn told(engine: &Engine) -> Beside {
    let state = engine.state();
    let reason = engine.reason(&state);
    let condition = match engine.standing(&state) {
        Standing::Unknown => Condition::Starting,
        Standing::Healthy => Condition::Up,
        Standing::Unhealthy | Standing::BreakerOpen | Standing::Ejected => Condition::Down(reason),
        Standing::Cordoned | Standing::Draining | Standing::Drained | Standing::Leaving => {
            Condition::Degraded(reason)
        }
    };
    let mut component = Component::beside(Kind::Engine, true, condition);
    component.latency = state.sight.last_success.map(|_| state.sight.latency);
    component.last_success = state.sight.last_success;
    component.consecutive_failures = state.health.failures();
    Beside { name: engine.url.clone(), component }
}
