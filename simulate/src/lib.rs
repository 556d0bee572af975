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

pub use world::{Ended, Fate, Served};

use judge::Report;
use policy::Name;
pub use schedule::Class;
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
    /// How long requests go on arriving after; what is not answered by then is late.
    pub settle: Duration,
    /// Whether requests say how long their answer will be.
    pub lengths_known: bool,
    /// How requests are divided among classes: any weights.
    pub mix: Vec<(Class, f64)>,
    /// The weight of cost in the gateway's policies, in the place of their own.
    pub weight: Option<f64>,
    /// Who sends them.
    pub users: workload::Users,
    /// Decides users, classes and the engines' noise.
    pub seed: u64,
}

impl Setting {
    /// Four engines of a profile, half an hour of arrivals, of which the first ten minutes are not counted.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self {
            engines: 4,
            profile,
            counted: Duration::from_secs(1_200),
            warm_up: Duration::from_secs(600),
            settle: workload::DECIDED,
            lengths_known: false,
            mix: workload::MIX.to_vec(),
            weight: None,
            users: workload::Users::default(),
            seed: 7,
        }
    }

    /// Lets a recording arrive at a rate, in requests a second, under a policy.
    #[must_use]
    pub fn run(&self, trace: &[Recorded], rate: f64, policy: Name) -> Report {
        let workload = self.workload(trace, rate);
        let settled = workload.settled;
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
