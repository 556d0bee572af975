//! A request as the scheduler sees it.

use crate::{class::Class, engine::EngineId, fair::Share, made::Made, returns::Print};
use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
    time::Duration,
};

/// A request that waits or runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) u64);

/// A map by tickets. They are counted up here, so nobody can choose them to collide, and neighbours lie side by side.
pub(crate) type ByTicket<T> = HashMap<Ticket, T, BuildHasherDefault<Number>>;

/// Hashes a number to itself; the highest bits, by which a map tells apart what shares a place, are mixed.
#[derive(Debug, Default)]
pub(crate) struct Number(u64);

impl Hasher for Number {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 << 8 | u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number ^ (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 57 << 57);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What is known of a request when it arrives.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Name of the model as engines serve it.
    pub model: &'a str,
    /// Whose share it takes from: from the outermost, such as a group, to the innermost, such as a key.
    pub path: &'a [Share],
    /// How urgent it is.
    pub class: Class,
    /// Whether it is done only as far as others leave time for it, after all else of its class, and never moves up.
    pub spare: bool,
    /// Tokens of its prompt.
    pub prompt: u32,
    /// Most tokens it may be answered with, when that is bounded. 0 for what makes none, such as an embedding.
    pub most: Option<u32>,
    /// Hashes of its prompt from the beginning to the end of each block, so that equal ones mean an equal beginning.
    pub prefix: Arc<[u64]>,
    /// What it is known by when its caller asks for the very same again; 0 when nobody can tell.
    pub asks: u64,
    /// When it came to the gateway, which is before now when it is tried again.
    pub arrived: Duration,
    /// When the whole answer becomes pointless to the caller, where that was said.
    pub deadline: Option<Duration>,
    /// Longest time that it may wait, whatever its class is promised.
    pub patience: Duration,
    /// An engine that failed it just now.
    pub avoid: Option<EngineId>,
    /// The one engine that it may go to, when others cannot answer it.
    pub only: Option<EngineId>,
    /// Whether its tokens are seen as they are made; else only its end is.
    pub streams: bool,
    /// How often it was stopped to make room.
    pub preempted: u8,
    /// Where its tokens are counted.
    pub made: Made,
}

impl Request<'_> {
    /// What it is known by when it comes again, and whose it is.
    pub(crate) fn print(&self) -> Print {
        let mix =
            |hash: u64, number: u64| (hash ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        let path =
            self.path.iter().fold(0, |hash, share| mix(mix(hash, share.id as u64), (share.id >> 64) as u64));
        let asks = if self.asks == 0 { 0 } else { mix(mix(path, self.class as u64), self.asks) };
        Print { asks, path }
    }
}

/// How a request left its engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer as long as it was to be.
    Done,
    /// Its caller went away. What was done for it is charged, but says nothing of how long answers are.
    Left,
    /// Without one; what it was charged is given back, and it may come again.
    Lost,
    /// The engine was full and did nothing for it.
    Busy,
}

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No engine that is well serves the model.
    NoEngine,
    /// As many as may wait do.
    Full {
        /// When asking again is worth it.
        retry_after: Duration,
    },
    /// It could not be answered in time by now.
    Late {
        /// When asking again is worth it.
        retry_after: Duration,
    },
    /// The caller's own deadline leaves too little time.
    Deadline,
}
