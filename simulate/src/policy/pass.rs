//! Policies without a queue of their own: everything goes to an engine at once.

use super::Policy;
use crate::{workload::Offered, world::World};
use schedule::Class;
use std::{collections::VecDeque, time::Duration};

/// To the engine with the fewest requests.
#[derive(Debug)]
pub(super) struct Pass {
    /// Requests that may wait in the engine; one more is refused.
    pub(super) waiting: usize,
    /// How long clients wait for their first token.
    pub(super) patience: Option<Duration>,
    pub(super) patient: VecDeque<usize>,
}

impl Default for Pass {
    fn default() -> Self {
        Self { waiting: usize::MAX, patience: None, patient: VecDeque::new() }
    }
}

impl Policy for Pass {
    fn arrive(&mut self, request: usize, offered: &Offered, world: &mut World<'_>) {
        let fewest = (0..world.engines()).min_by_key(|&engine| world.load(engine).1).unwrap_or(0);
        if world.load(fewest).0 >= self.waiting {
            return world.refuse(request, "full");
        }
        let class = if offered.class == Class::System { 0 } else { offered.class.index() };
        world.send(request, fewest, i64::try_from(class).unwrap_or(0));
        if let Some(patience) = self.patience {
            self.patient.push_back(request);
            if self.patient.len() == 1 {
                world.wake_at(offered.at + patience);
            }
        }
    }

    fn wake(&mut self, world: &mut World<'_>) {
        let Some(patience) = self.patience else { return };
        while let Some(&request) = self.patient.front() {
            let leaves = world.offered(request).at + patience;
            if leaves > world.now {
                return world.wake_at(leaves);
            }
            self.patient.pop_front();
            if world.stop(request) {
                world.refuse(request, "left");
            }
        }
    }
}
