//! What gateways say of themselves and hear of each other.

use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

/// A gateway, by the id that it made up when it started.
pub type GatewayId = Uuid;

/// What a gateway says of itself to the others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Word {
    /// Counts what it has said.
    pub sequence: u64,
    /// Where the others reach it.
    pub address: String,
    /// How many engines it should own, in relation to the others.
    pub weight: f64,
    /// Whether it is about to end: it owns nothing any more.
    pub draining: bool,
    /// Whether it was answered within the lease, and so knows the others.
    pub hears: bool,
    /// By engine: the most requests that it may hold there.
    pub claims: BTreeMap<String, u32>,
    /// By model: how long a request would wait there.
    pub waits: BTreeMap<String, Duration>,
}

/// A gateway as it was listed.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Which.
    pub id: GatewayId,
    /// What it said last.
    pub word: Word,
    /// Whether it said so within the lease.
    pub live: bool,
}

/// What came of asking a gateway directly.
#[derive(Debug, Clone, PartialEq)]
pub enum Reach {
    /// It is there, and says this; `knows` when it hears of all the others.
    Here {
        /// What it says.
        word: Word,
        /// Whether its own view is fresh.
        knows: bool,
    },
    /// There is no such process any more.
    Gone,
    /// It gave no answer.
    Silent,
}

/// What part of an engine is this gateway's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    /// Whether requests may wait for it here.
    pub mine: bool,
    /// Most requests that may be held.
    pub most: u32,
}

/// For how long words count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// A word is good for so long.
    pub lease: Duration,
    /// What a gateway holds that gives no answer is counted for so much longer.
    pub grace: Duration,
}
