//! What a scheduling policy makes of a recorded workload, in virtual time: the scheduler is the gateway's own, the
//! engines are the simulated engine's own state machine, and an hour of both takes seconds.
//!
//! A recording becomes a [`workload`] at some rate; [`world`] lets it arrive at engines behind a [`policy`]; [`judge`]
//! says what came of it, by definitions that refusing, waiting or serving only the cheap cannot improve.

pub mod bound;
pub mod capacity;
pub mod fairness;
pub mod judge;
pub mod policy;
pub mod workload;
mod world;

use judge::Report;
use policy::Name;
use simulator::Profile;
use std::time::Duration;
use workload::{Recorded, Workload};

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Engines, all alike.
    pub engines: usize,
    /// What each is like.
    pub profile: Profile,
    /// How long requests are counted, after the warm-up.
    pub counted: Duration,
    /// How long requests arrive before.
    pub warm_up: Duration,
    /// Who sends them.
    pub users: workload::Users,
    /// Decides users, classes and the engines' noise.
    pub seed: u64,
}

impl Setting {
    /// Lets a recording arrive at a rate, in requests a second, under a policy.
    #[must_use]
    pub fn run(&self, trace: &[Recorded], rate: f64, policy: Name) -> Report {
        let workload = self.workload(trace, rate);
        let settled = workload.settled();
        let world = world::World::new(self, &workload, policy.engines_prioritise());
        let ended = world.run(policy.make(self).as_mut(), settled);
        judge::judge(&workload, &ended)
    }

    /// The recording at a rate.
    #[must_use]
    pub fn workload(&self, trace: &[Recorded], rate: f64) -> Workload {
        Workload::new(trace, rate, self)
    }
}
