//! The gateway's own scheduler, told of this world instead of the real one.

use super::Policy;
use crate::{
    Setting,
    workload::Offered,
    world::{Made, World},
};
use schedule::{
    Action, Capacity, Outcome, Refusal, Request, Scheduler, Settings, Share, Speed, Ticket, Verdict,
};
use std::collections::HashMap;

const MODEL: &str = "model";

/// A scheduler, and which of its tickets is which request.
pub(super) struct Gateway {
    scheduler: Scheduler,
    requests: HashMap<Ticket, usize>,
    tickets: HashMap<usize, Ticket>,
    made: HashMap<usize, schedule::Made>,
    stopped: HashMap<usize, u8>,
    lengths_known: bool,
}

impl Gateway {
    pub(super) fn new(settings: Settings, setting: &Setting) -> Self {
        let mut scheduler = Scheduler::new(settings);
        let limits = &setting.profile.limits;
        let capacity = Capacity {
            requests: u32::try_from(limits.max_num_seqs).unwrap_or(u32::MAX),
            kv_tokens: Some(u64::from(limits.num_gpu_blocks) * u64::from(limits.block_size)),
            step_tokens: limits.max_num_batched_tokens,
        };
        for engine in 0..setting.engines {
            // It knows no more of these engines than of any other.
            scheduler.engine(engine, &[MODEL.to_owned()], true, capacity, Speed::default());
        }
        let maps = (HashMap::new(), HashMap::new(), HashMap::new(), HashMap::new());
        Self {
            scheduler,
            requests: maps.0,
            tickets: maps.1,
            made: maps.2,
            stopped: maps.3,
            lengths_known: setting.lengths_known,
        }
    }

    fn offer(&mut self, request: usize, world: &mut World<'_>) {
        let offered = *world.offered(request);
        let made = schedule::Made::default();
        let asked = Request {
            model: MODEL,
            path: &[Share { id: offered.user as u128, weight: 1 }],
            class: offered.class,
            spare: offered.spare,
            prompt: offered.prompt,
            most: self.lengths_known.then_some(offered.output),
            prefix: [].into(),
            // Nobody comes back in a trace.
            asks: 0,
            arrived: offered.at,
            deadline: None,
            patience: std::time::Duration::from_secs(3_600),
            only: None,
            avoid: None,
            streams: true,
            preempted: self.stopped.get(&request).copied().unwrap_or(0),
            made: made.clone(),
        };
        match self.scheduler.arrive(&asked, world.now) {
            Verdict::Queued(ticket) => {
                self.requests.insert(ticket, request);
                self.tickets.insert(request, ticket);
                self.made.insert(request, made);
            }
            Verdict::Refused(refusal) => world.refuse(request, reason(refusal, "on arrival")),
        }
    }

    fn act(&mut self, world: &mut World<'_>) {
        while let Some(action) = self.scheduler.next(world.now) {
            match action {
                Action::Start { ticket, engine } => {
                    if let Some(&request) = self.requests.get(&ticket) {
                        world.send(request, engine, 0);
                    }
                }
                Action::Refuse { ticket, refusal } => {
                    if let Some(request) = self.requests.remove(&ticket) {
                        self.forget(request);
                        world.refuse(request, reason(refusal, "late"));
                    }
                }
                Action::Stop { ticket } => self.stop(ticket, world),
            }
        }
        if let Some(wake) = self.scheduler.wake() {
            world.wake_at(wake);
        }
    }

    fn stop(&mut self, ticket: Ticket, world: &mut World<'_>) {
        let Some(request) = self.requests.get(&ticket).copied().filter(|&request| world.stop(request)) else {
            return;
        };
        self.scheduler.finished(ticket, Outcome::Lost, world.now);
        self.requests.remove(&ticket);
        self.forget(request);
        *self.stopped.entry(request).or_default() += 1;
        self.offer(request, world);
    }

    fn forget(&mut self, request: usize) {
        self.tickets.remove(&request);
        self.made.remove(&request);
    }
}

fn reason(refusal: Refusal, late: &'static str) -> &'static str {
    match refusal {
        Refusal::NoEngine => "no engine",
        Refusal::Full { .. } => "full",
        Refusal::Late { .. } => late,
        Refusal::Deadline => "deadline",
    }
}

impl Policy for Gateway {
    fn arrive(&mut self, request: usize, _: &Offered, world: &mut World<'_>) {
        self.offer(request, world);
        self.act(world);
    }

    fn stepped(&mut self, _: usize, made: &[Made], world: &mut World<'_>) {
        for made in made {
            let Some(&ticket) = self.tickets.get(&made.request) else { continue };
            if let Some(count) = self.made.get(&made.request) {
                count.add(1);
            }
            if made.first {
                self.scheduler.first_token(ticket, world.now);
            }
            if made.last {
                self.scheduler.finished(ticket, Outcome::Done, world.now);
                self.requests.remove(&ticket);
                self.forget(made.request);
            }
        }
        self.act(world);
    }

    fn wake(&mut self, world: &mut World<'_>) {
        self.act(world);
    }
}
