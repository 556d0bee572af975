//! Engines and callers in virtual time, who check whatever the scheduler says as it says it.
//!
//! An engine computes prompts one after the other and makes tokens a few at a time, by its [`Speed`]. Nothing here
//! knows how the scheduler decides: only what it may and must do.

use super::parts::{Call, Job, Machine, State};
use crate::{
    Action, Class, EngineId, Load, Made, Outcome, Refusal, Request, Scheduler, Settings, Share, Speed,
    Ticket, Verdict,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

pub(super) const MODELS: [&str; 2] = ["small", "large"];
/// Tokens of an answer that come at once.
const CHUNK: u32 = 8;

pub(super) struct World {
    pub(super) scheduler: Scheduler,
    pub(super) now: Duration,
    pub(super) engines: Vec<Machine>,
    pub(super) jobs: HashMap<Ticket, Job>,
    /// Everything that the scheduler said.
    pub(super) said: Vec<(Duration, Action)>,
    pub(super) refused: usize,
    /// Who was refused when, and after how long they were to ask again.
    pub(super) told: Vec<(Duration, Call, Duration)>,
    /// Starts by class, for whoever counts them.
    pub(super) starts: [usize; 4],
    /// Tokens served per user, as they are charged.
    pub(super) charged: BTreeMap<u128, u64>,
    settings: Settings,
    events: BTreeSet<(Duration, u64, Ticket)>,
    events_made: u64,
}

impl World {
    pub(super) fn new(settings: Settings, engines: Vec<Machine>) -> Self {
        let mut world = Self {
            scheduler: Scheduler::new(settings.clone()),
            now: Duration::ZERO,
            engines,
            jobs: HashMap::new(),
            said: Vec::new(),
            refused: 0,
            told: Vec::new(),
            starts: [0; 4],
            charged: BTreeMap::new(),
            settings,
            events: BTreeSet::new(),
            events_made: 0,
        };
        for engine in 0..world.engines.len() {
            world.tell(engine, Speed::default());
        }
        world
    }

    /// Says what an engine is now.
    pub(super) fn tell(&mut self, engine: EngineId, believed: Speed) {
        let machine = &self.engines[engine];
        let models: Vec<String> = machine.serves.iter().map(|&model| MODELS[model].to_owned()).collect();
        self.scheduler.engine(engine, &models, machine.open, machine.capacity, believed);
    }

    pub(super) fn open(&mut self, engine: EngineId, open: bool) {
        self.engines[engine].open = open;
        self.tell(engine, Speed::default());
    }

    pub(super) fn arrive(&mut self, call: &Call) -> Option<Ticket> {
        self.arrive_again(call, self.now, 0)
    }

    fn arrive_again(&mut self, call: &Call, arrived: Duration, preempted: u8) -> Option<Ticket> {
        let made = Made::default();
        let request = Request {
            model: MODELS[call.model],
            path: &[Share { id: call.user % 2, weight: 1 }, Share { id: call.user, weight: call.weight }],
            class: call.class,
            spare: call.spare,
            prompt: call.prompt,
            most: Some(call.answer.max(1) * 2),
            prefix: if call.prefix == 0 { Arc::default() } else { Arc::new([call.prefix, call.prefix + 1]) },
            asks: call.asks,
            arrived,
            deadline: None,
            patience: call.patience,
            avoid: call.avoid,
            only: call.only,
            streams: call.streams,
            preempted,
            made: made.clone(),
        };
        let ticket = match self.scheduler.arrive(&request, self.now) {
            Verdict::Queued(ticket) => ticket,
            Verdict::Refused(refusal) => {
                self.refused += 1;
                self.tell_back(call, refusal);
                return None;
            }
        };
        let (waits, _) = self.scheduler.waits(MODELS[call.model], None, usize::MAX, self.now);
        let expires = waits.iter().find(|wait| wait.ticket == ticket).unwrap().expires;
        assert!(expires > self.now, "it was let in to be refused");
        let state = State::Waits { expires };
        let call = call.clone();
        let job = Job { call, state, arrived, preempted, made, first: false, stopping: false, ran: false };
        assert!(self.jobs.insert(ticket, job).is_none(), "a ticket is given once");
        Some(ticket)
    }

    pub(super) fn cancel(&mut self, ticket: Ticket) {
        match self.jobs[&ticket].state {
            State::Waits { .. } => {
                self.scheduler.cancel(ticket);
                self.job(ticket).state = State::Gone;
            }
            State::Runs { .. } => self.leave(ticket, Outcome::Left),
            State::Gone => self.scheduler.cancel(ticket),
        }
    }

    /// A running request fails, and arrives again when it has no token.
    pub(super) fn fail(&mut self, ticket: Ticket, outcome: Outcome) -> Option<Ticket> {
        let State::Runs { engine, .. } = self.jobs[&ticket].state else { return None };
        self.leave(ticket, outcome);
        let job = &self.jobs[&ticket];
        let (call, arrived, preempted) =
            (Call { avoid: Some(engine), ..job.call.clone() }, job.arrived, job.preempted);
        if job.made.tokens() > 0 {
            return None;
        }
        self.arrive_again(&call, arrived, preempted)
    }

    /// A request leaves its engine.
    fn leave(&mut self, ticket: Ticket, outcome: Outcome) {
        let job = self.job(ticket);
        let State::Runs { engine, .. } = job.state else { return };
        job.state = State::Gone;
        let made = job.made.tokens();
        let (user, prompt) = (job.call.user, job.call.prompt);
        let charged = matches!(outcome, Outcome::Done | Outcome::Left) || made > 0;
        let prompt = if charged { prompt } else { 0 };
        let weight = u64::from(self.settings.output_weight);
        *self.charged.entry(user).or_default() += u64::from(prompt) + u64::from(made) * weight;
        self.engines[engine].held.remove(&ticket);
        self.scheduler.finished(ticket, outcome, self.now);
    }

    /// Obeys until nothing is left to be done, and checks that it was right.
    pub(super) fn obey(&mut self) {
        let most = 4 * self.jobs.len() + 100;
        let mut count = 0;
        while let Some(action) = self.scheduler.next(self.now) {
            count += 1;
            assert!(count < most, "it never ends: {action:?}");
            self.said.push((self.now, action));
            match action {
                Action::Start { ticket, engine } => self.begin(ticket, engine),
                Action::Refuse { ticket, refusal } => self.refuse(ticket, refusal),
                Action::Stop { ticket } => self.stop(ticket),
            }
        }
        self.check();
    }

    fn begin(&mut self, ticket: Ticket, engine: EngineId) {
        let now = self.now;
        let State::Waits { expires } = self.jobs[&ticket].state else { panic!("{ticket:?} does not wait") };
        assert!(now < expires, "{ticket:?} starts after {expires:?}, at {now:?}");
        assert!(self.may_go(&self.jobs[&ticket].call, engine), "{ticket:?} may not go to {engine}");
        let machine = &self.engines[engine];
        assert!(machine.held.len() < machine.capacity.requests as usize, "{engine} holds too many");
        let load = self.scheduler.load(engine);
        let kv = machine.capacity.kv_tokens.unwrap_or(u64::MAX);
        assert!(load.tokens <= kv || load.requests == 1, "{engine} holds too much: {load:?}");
        assert!(!std::mem::replace(&mut self.job(ticket).ran, true));
        self.job(ticket).state = State::Runs { engine };
        let prompt = f64::from(self.jobs[&ticket].call.prompt);
        let machine = &mut self.engines[engine];
        machine.held.insert(ticket);
        let speed = machine.speed;
        let takes = prompt * speed.prefill + speed.attention * prompt * prompt / 2.0 + speed.step;
        machine.busy = machine.busy.max(now) + Duration::from_secs_f64(takes);
        let first = machine.busy;
        self.event(first, ticket);
    }

    fn refuse(&mut self, ticket: Ticket, refusal: Refusal) {
        assert!(matches!(self.jobs[&ticket].state, State::Waits { .. }), "{ticket:?} does not wait");
        assert!(matches!(refusal, Refusal::Late { .. }), "{refusal:?}");
        let call = self.jobs[&ticket].call.clone();
        self.tell_back(&call, refusal);
        self.job(ticket).state = State::Gone;
        self.refused += 1;
    }

    fn tell_back(&mut self, call: &Call, refusal: Refusal) {
        if let Refusal::Late { retry_after } | Refusal::Full { retry_after } = refusal {
            self.told.push((self.now, call.clone(), retry_after));
        }
    }

    fn stop(&mut self, ticket: Ticket) {
        let job = self.job(ticket);
        assert!(matches!(job.state, State::Runs { .. }), "{ticket:?} does not run");
        assert_eq!((job.call.class, job.made.tokens()), (Class::Batch, 0));
        assert!(job.preempted < 2, "{ticket:?} was stopped often enough");
        assert!(!std::mem::replace(&mut job.stopping, true), "{ticket:?} is told twice");
        let (call, arrived, preempted) = (job.call.clone(), job.arrived, job.preempted + 1);
        self.leave(ticket, Outcome::Lost);
        self.arrive_again(&call, arrived, preempted);
    }

    /// Whether a request may go to an engine.
    fn may_go(&self, call: &Call, engine: EngineId) -> bool {
        let fits = |at: EngineId| self.engines[at].open && self.engines[at].serves.contains(&call.model);
        let others = (0..self.engines.len()).any(|other| Some(other) != call.avoid && fits(other));
        match call.only {
            Some(only) => fits(engine) && only == engine,
            None => fits(engine) && (call.avoid != Some(engine) || !others),
        }
    }

    /// What must be so whenever nothing is left to be done.
    fn check(&self) {
        assert!(
            self.scheduler.wake().is_none_or(|wake| wake > self.now),
            "it wants to be asked again at once"
        );
        let mut waiting = [0; MODELS.len()];
        for (ticket, job) in &self.jobs {
            let State::Waits { expires } = job.state else { continue };
            waiting[job.call.model] += 1;
            assert!(expires > self.now, "{ticket:?} waits beyond {expires:?}");
            assert!(
                self.scheduler.wake().is_some_and(|wake| wake <= expires),
                "nobody will look at {ticket:?}"
            );
            for (engine, machine) in
                self.engines.iter().enumerate().filter(|(_, machine)| machine.held.is_empty())
            {
                assert!(!self.may_go(&job.call, engine), "{engine} {machine:?} is idle and {ticket:?} waits");
            }
        }
        for (model, waiting) in MODELS.iter().zip(waiting) {
            assert_eq!(self.scheduler.waiting(model), waiting, "{model}");
        }
        for (engine, machine) in self.engines.iter().enumerate() {
            assert_eq!(self.scheduler.load(engine).requests as usize, machine.held.len(), "{engine}");
        }
    }

    /// Lets time pass, and whatever happens in it.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.obey();
        while let Some(at) = self.soonest().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            while let Some(event) = self.events.first().copied().filter(|event| event.0 <= self.now) {
                self.events.remove(&event);
                self.advance(event.2);
            }
            self.obey();
        }
        self.now = until;
        self.obey();
    }

    /// Time goes by and nobody looks.
    pub(super) fn jump(&mut self, time: Duration) {
        self.now += time;
        while let Some(event) = self.events.first().copied().filter(|event| event.0 <= self.now) {
            self.events.remove(&event);
            self.advance(event.2);
        }
        self.obey();
    }

    fn soonest(&self) -> Option<Duration> {
        let event = self.events.first().map(|event| event.0);
        [event, self.scheduler.wake()].into_iter().flatten().min()
    }

    /// The next tokens of an answer come.
    fn advance(&mut self, ticket: Ticket) {
        let Some(job) = self.jobs.get(&ticket) else { return };
        let State::Runs { engine, .. } = job.state else { return };
        let (first, streams) = (job.first, job.call.streams);
        let most = if first { CHUNK } else { 1 };
        let chunk = most.min(job.call.answer - job.made.tokens());
        self.job(ticket).first = true;
        if streams && !first {
            self.scheduler.first_token(ticket, self.now);
        }
        let job = &self.jobs[&ticket];
        job.made.add(chunk);
        if job.made.tokens() >= job.call.answer {
            return self.leave(ticket, Outcome::Done);
        }
        let machine = &self.engines[engine];
        let step = machine.speed.step + machine.speed.sequence * machine.held.len() as f64;
        let next = CHUNK.min(job.call.answer - job.made.tokens());
        self.event(self.now + Duration::from_secs_f64(step * f64::from(next)), ticket);
    }

    fn event(&mut self, at: Duration, ticket: Ticket) {
        self.events_made += 1;
        self.events.insert((at, self.events_made, ticket));
    }

    fn job(&mut self, ticket: Ticket) -> &mut Job {
        self.jobs.get_mut(&ticket).unwrap()
    }

    /// Requests in a state, the oldest first.
    pub(super) fn those(&self, which: impl Fn(&Job) -> bool) -> Vec<Ticket> {
        let mut those: Vec<Ticket> =
            self.jobs.iter().filter(|(_, job)| which(job)).map(|(&ticket, _)| ticket).collect();
        those.sort_unstable();
        those
    }

    /// Cancels whatever waits or runs.
    pub(super) fn clear(&mut self) {
        for ticket in self.those(|job| job.state != State::Gone) {
            self.cancel(ticket);
        }
        self.obey();
        assert!(self.jobs.values().all(|job| job.state == State::Gone));
        for engine in 0..self.engines.len() {
            assert_eq!(self.scheduler.load(engine), Load::default());
        }
    }
}
