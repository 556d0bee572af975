//! Callers and engines of the world, and what each is doing.

use crate::{Capacity, Class, EngineId, Made, Speed, Ticket};
use std::{collections::BTreeSet, time::Duration};

/// What a caller wants.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) user: u128,
    pub(super) weight: u32,
    pub(super) model: usize,
    pub(super) class: Class,
    pub(super) spare: bool,
    pub(super) prompt: u32,
    pub(super) answer: u32,
    pub(super) streams: bool,
    pub(super) prefix: u64,
    pub(super) asks: u64,
    pub(super) patience: Duration,
    pub(super) avoid: Option<EngineId>,
    pub(super) only: Option<EngineId>,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            user: 1,
            weight: 1,
            model: 0,
            class: Class::Interactive,
            spare: false,
            prompt: 500,
            answer: 40,
            streams: true,
            prefix: 0,
            asks: 0,
            patience: Duration::from_secs(30),
            avoid: None,
            only: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Waits { expires: Duration },
    Runs { engine: EngineId },
    Gone,
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) call: Call,
    pub(super) state: State,
    pub(super) arrived: Duration,
    pub(super) preempted: u8,
    pub(super) made: Made,
    pub(super) first: bool,
    pub(super) stopping: bool,
    pub(super) ran: bool,
}

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) serves: Vec<usize>,
    pub(super) open: bool,
    pub(super) capacity: Capacity,
    pub(super) speed: Speed,
    pub(super) held: BTreeSet<Ticket>,
    /// Until when it computes the prompts that it has.
    pub(super) busy: Duration,
}

impl Machine {
    pub(super) fn new(serves: &[usize], requests: u32, kv_tokens: Option<u64>) -> Self {
        Self {
            serves: serves.to_vec(),
            open: true,
            capacity: Capacity { requests, kv_tokens, ..Capacity::default() },
            speed: Speed::default(),
            held: BTreeSet::new(),
            busy: Duration::ZERO,
        }
    }
}
