//! The states of an instance, which of them follow which, and what may be the cause.

use std::fmt;

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Its agent runs; nothing is known of its engine.
    Init,
    /// Its engine starts: weights are loaded, nothing was answered yet.
    Warming,
    /// It answered a real completion.
    Ready,
    /// It gets nothing new and finishes what it has.
    Draining,
    /// It is over. Nothing follows.
    Terminated,
}

impl State {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [Self::Init, Self::Warming, Self::Ready, Self::Draining, Self::Terminated];

    /// Whether `next` may follow. An engine that starts again warms up again; what was never ready has nothing to
    /// drain, and nothing comes back from draining.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Init, Self::Warming)
                | (Self::Warming, Self::Ready)
                | (Self::Ready, Self::Warming | Self::Draining)
                | (Self::Init | Self::Warming | Self::Ready | Self::Draining, Self::Terminated)
        )
    }

    /// Whether it is, or soon will be, able to serve: what is warming up was asked for already.
    #[must_use]
    pub const fn is_capacity(self) -> bool {
        matches!(self, Self::Init | Self::Warming | Self::Ready)
    }

    /// The word for it in metrics and texts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Warming => "warming",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Terminated => "terminated",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Why an instance moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Its agent started.
    Registered,
    /// Its engine answers.
    EngineUp,
    /// It answered a real completion.
    WarmedUp,
    /// Its engine no longer answers, or started again.
    EngineLost,
    /// It was not ready in the time it had to warm up.
    WarmUpFailed,
    /// Its cloud takes it away.
    Preemption,
    /// An operator, or whoever scales, asked for it.
    Requested,
    /// Its agent was told to stop.
    Stopped,
    /// It had nothing to do for long.
    Idle,
    /// Everything it had was finished.
    Drained,
    /// The time for draining was over.
    DrainLimit,
    /// Nothing was heard of it for too long.
    LeaseLost,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Registered,
        Self::EngineUp,
        Self::WarmedUp,
        Self::EngineLost,
        Self::WarmUpFailed,
        Self::Preemption,
        Self::Requested,
        Self::Stopped,
        Self::Idle,
        Self::Drained,
        Self::DrainLimit,
        Self::LeaseLost,
    ];
}
