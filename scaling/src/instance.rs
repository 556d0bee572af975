//! An instance as its own agent holds it: its state is part of its type, so that a move that must not be does not compile.
//!
//! ```
//! use scaling::{Cause, instance::Instance};
//! # use std::time::Duration;
//! let now = Duration::from_secs(1);
//! let instance = Instance::registered(1);
//! let (instance, _) = instance.warm(now);
//! let (instance, _) = instance.ready(now);
//! let (instance, _) = instance.drain(Cause::Preemption, now);
//! let (_, claim) = instance.terminate(Cause::Drained, now);
//! assert_eq!(claim.version, 4);
//! ```
//!
//! What has not warmed up cannot be ready:
//!
//! ```compile_fail
//! # use scaling::instance::Instance;
//! Instance::registered(1).ready(std::time::Duration::ZERO);
//! ```
//!
//! and nothing comes back from draining:
//!
//! ```compile_fail
//! # use scaling::{Cause, instance::Instance};
//! # let now = std::time::Duration::ZERO;
//! let draining = Instance::registered(1).warm(now).0.ready(now).0.drain(Cause::Idle, now).0;
//! draining.ready(now);
//! ```

use crate::{Cause, Claim, State};
use std::{marker::PhantomData, time::Duration};

/// A state as a type.
pub trait Stage {
    /// The state.
    const STATE: State;
}

macro_rules! stages {
    ($($name:ident),+) => {$(
        #[doc = concat!("[`State::", stringify!($name), "`] as a type.")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name;
        impl Stage for $name {
            const STATE: State = State::$name;
        }
    )+};
}

stages!(Init, Warming, Ready, Draining, Terminated);

/// What has not ended and has nothing to finish either.
pub trait Unready: Stage {}
impl Unready for Init {}
impl Unready for Warming {}

/// An instance in one state. Every move hands out the next instance and the claim that tells monitoring of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Instance<S> {
    epoch: u64,
    version: u64,
    stage: PhantomData<S>,
}

impl<S: Stage> Instance<S> {
    /// Its state.
    #[must_use]
    pub const fn state(&self) -> State {
        S::STATE
    }

    /// Which of its registrations this is.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many moves it made, its registration not counted.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    const fn step<N: Stage>(self, cause: Cause, at: Duration) -> (Instance<N>, Claim) {
        let version = self.version + 1;
        let claim = Claim { epoch: self.epoch, version, to: N::STATE, cause, at };
        (Instance { epoch: self.epoch, version, stage: PhantomData }, claim)
    }
}

impl Instance<Init> {
    /// An instance that monitoring has registered under this epoch.
    #[must_use]
    pub const fn registered(epoch: u64) -> Self {
        Self { epoch, version: 0, stage: PhantomData }
    }

    /// Its engine answers.
    #[must_use]
    pub const fn warm(self, at: Duration) -> (Instance<Warming>, Claim) {
        self.step(Cause::EngineUp, at)
    }
}

impl Instance<Warming> {
    /// It answered a real completion.
    #[must_use]
    pub const fn ready(self, at: Duration) -> (Instance<Ready>, Claim) {
        self.step(Cause::WarmedUp, at)
    }
}

impl<S: Unready> Instance<S> {
    /// It ends without having served: there is nothing to drain.
    #[must_use]
    pub const fn give_up(self, cause: Cause, at: Duration) -> (Instance<Terminated>, Claim) {
        self.step(cause, at)
    }
}

impl Instance<Ready> {
    /// Its engine no longer answers, or started again.
    #[must_use]
    pub const fn lose_engine(self, at: Duration) -> (Instance<Warming>, Claim) {
        self.step(Cause::EngineLost, at)
    }

    /// It gets nothing new.
    #[must_use]
    pub const fn drain(self, cause: Cause, at: Duration) -> (Instance<Draining>, Claim) {
        self.step(cause, at)
    }
}

impl Instance<Draining> {
    /// What it had is finished, or it has no more time.
    #[must_use]
    pub const fn terminate(self, cause: Cause, at: Duration) -> (Instance<Terminated>, Claim) {
        self.step(cause, at)
    }
}
