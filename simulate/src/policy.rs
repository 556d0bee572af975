//! The policies that are compared.

mod gateway;
mod pass;

use crate::{
    Setting,
    workload::Offered,
    world::{Made, World},
};
use gateway::Gateway;
use pass::Pass;
use schedule::Settings;
use std::time::Duration;

/// A policy, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// First come, first served at the engine with the fewest requests, however long that takes.
    Fifo,
    /// The same, and clients leave who have no token after 30 seconds.
    FifoImpatient,
    /// The same, but what finds 32 waiting at every engine is refused: what a careful operator runs.
    FifoBounded,
    /// Engines take interactive requests before default ones before batch.
    Priority,
    /// The most urgent deadline first, and what cannot be in time is refused.
    EdfRefuse,
    /// The gateway's scheduler without fair shares.
    TollgateUnfair,
    /// The gateway's scheduler as it is set by default.
    Tollgate,
}

impl Name {
    /// Every policy, the simplest first.
    pub const ALL: [Self; 7] = [
        Self::Fifo,
        Self::FifoImpatient,
        Self::FifoBounded,
        Self::Priority,
        Self::EdfRefuse,
        Self::TollgateUnfair,
        Self::Tollgate,
    ];

    /// How it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::FifoImpatient => "fifo_impatient",
            Self::FifoBounded => "fifo_bounded",
            Self::Priority => "priority",
            Self::EdfRefuse => "edf_refuse",
            Self::TollgateUnfair => "tollgate_unfair",
            Self::Tollgate => "tollgate",
        }
    }

    /// The policy of this name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == word)
    }

    /// Whether engines are to go by the priority that they are told.
    #[must_use]
    pub const fn engines_prioritise(self) -> bool {
        matches!(self, Self::Priority)
    }

    pub(crate) fn make(self, setting: &Setting) -> Box<dyn Policy> {
        let gateway = |settings: Settings| -> Box<dyn Policy> { Box::new(Gateway::new(settings, setting)) };
        let weighed = |settings: Settings| Settings {
            cost_weight: setting.weight.unwrap_or(settings.cost_weight),
            ..settings
        };
        match self {
            Self::Fifo | Self::Priority => Box::new(Pass::default()),
            Self::FifoImpatient => {
                Box::new(Pass { patience: Some(Duration::from_secs(30)), ..Pass::default() })
            }
            Self::FifoBounded => Box::new(Pass { waiting: 32, ..Pass::default() }),
            Self::EdfRefuse => {
                gateway(Settings { cost_weight: 0.0, pacing: false, preempting: false, ..Settings::unfair() })
            }
            Self::TollgateUnfair => gateway(weighed(Settings::unfair())),
            Self::Tollgate => gateway(weighed(Settings::fair())),
        }
    }
}

/// Decides what becomes of requests in a [`World`].
pub(crate) trait Policy {
    /// A request arrives.
    fn arrive(&mut self, request: usize, offered: &Offered, world: &mut World<'_>);

    /// A step of an engine has ended.
    fn stepped(&mut self, _engine: usize, _made: &[Made], _world: &mut World<'_>) {}

    /// The time that it asked for has come.
    fn wake(&mut self, _world: &mut World<'_>) {}
}
