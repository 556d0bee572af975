//! Engines and clients in virtual time.

use crate::{
    Setting,
    policy::Policy,
    workload::{Offered, Workload},
};
use simulator::batching::{Batch, Limits, Moment, Progress, Sequence};
use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

/// What became of one request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fate {
    /// When its first token came.
    pub first: Option<Duration>,
    /// When its last token so far came.
    pub last: Duration,
    /// Tokens that it has.
    pub made: u32,
    /// Whether that is all of them.
    pub done: bool,
    /// When it was refused or left, and why.
    pub refused: Option<(Duration, &'static str)>,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// By request.
    pub fates: Vec<Fate>,
    /// What users got while requests were counted.
    pub served: Served,
    /// Part of the time that engines were busy while requests were counted, where that is known.
    pub utilisation: Option<f64>,
    /// Sequences that engines threw out and began anew, where that is known.
    pub preemptions: Option<u64>,
}

/// What users got by windows of [`WINDOW`]: tokens of a prompt when its first token comes, and each token of an answer
/// for two.
#[derive(Debug, Clone)]
pub struct Served {
    from: Duration,
    until: Duration,
    windows: Vec<Vec<f64>>,
}

impl Served {
    /// Nothing yet, while the requests of a workload are counted.
    #[must_use]
    pub fn new(workload: &Workload) -> Self {
        let windows = vec![vec![0.0; workload.users]; (workload.seconds() / WINDOW).ceil() as usize];
        Self { from: workload.counted.0, until: workload.counted.1, windows }
    }

    /// Tokens of an answer came, with the first one of it or without.
    pub fn add(&mut self, at: Duration, offered: &Offered, first: bool, tokens: u32) {
        let Some(since) = at.checked_sub(self.from).filter(|_| at < self.until) else { return };
        let prompt = if first { f64::from(offered.prompt) } else { 0.0 };
        if let Some(window) = self.windows.get_mut((since.as_secs_f64() / WINDOW) as usize) {
            window[offered.user] += OUTPUT_WEIGHT.mul_add(f64::from(tokens), prompt);
        }
    }

    /// Users' service by window.
    pub(crate) fn windows(&self) -> &[Vec<f64>] {
        &self.windows
    }
}

/// What a step made for one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    /// Which.
    pub(crate) request: usize,
    /// Its first token.
    pub(crate) first: bool,
    /// Its last one.
    pub(crate) last: bool,
}

/// Engines, requests and time.
#[derive(Debug)]
pub(crate) struct World<'a> {
    /// Now.
    pub(crate) now: Duration,
    workload: &'a Workload,
    engines: Vec<Batch>,
    stepping: Vec<bool>,
    at: Vec<Option<usize>>,
    fates: Vec<Fate>,
    events: BinaryHeap<Reverse<(Duration, Event)>>,
    woken: Option<Duration>,
    busy: Duration,
    served: Served,
}

/// Length of the windows in which service is compared, seconds.
pub(crate) const WINDOW: f64 = 60.0;
/// An answer's token counts for so many of a prompt.
pub(crate) const OUTPUT_WEIGHT: f64 = 2.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Step(usize),
    Wake,
}

impl<'a> World<'a> {
    pub(crate) fn new(setting: &Setting, workload: &'a Workload, by_priority: bool) -> Self {
        let profile = &setting.profile;
        let limits = Limits { by_priority, ..profile.limits };
        let engine = |at| Batch::new(limits, profile.speed, setting.seed ^ (at as u64 + 1));
        Self {
            now: Duration::ZERO,
            workload,
            engines: (0..setting.engines).map(engine).collect(),
            stepping: vec![false; setting.engines],
            at: vec![None; workload.offered.len()],
            fates: vec![Fate::default(); workload.offered.len()],
            events: BinaryHeap::new(),
            woken: None,
            busy: Duration::ZERO,
            served: Served::new(workload),
        }
    }

    pub(crate) fn run(mut self, policy: &mut dyn Policy, until: Duration) -> Ended {
        let mut arrivals = self.workload.offered.iter().enumerate().peekable();
        let (mut progress, mut made) = (Vec::new(), Vec::new());
        loop {
            let arrival = arrivals.peek().map(|(_, offered)| offered.at);
            let event = self.events.peek().map(|event| event.0.0);
            let Some(now) = [arrival, event].into_iter().flatten().min().filter(|now| *now <= until) else {
                break;
            };
            self.now = now;
            if arrival == Some(now) {
                if let Some((request, offered)) = arrivals.next() {
                    policy.arrive(request, offered, &mut self);
                }
                continue;
            }
            match self.events.pop() {
                Some(Reverse((_, Event::Step(engine)))) => {
                    self.end_step(engine, &mut progress, &mut made);
                    policy.stepped(engine, &made, &mut self);
                    self.begin_step(engine);
                }
                Some(Reverse((_, Event::Wake))) => {
                    self.woken = self.woken.filter(|at| *at > now);
                    policy.wake(&mut self);
                }
                None => break,
            }
        }
        let engines = self.engines.len().max(1) as u32;
        let utilisation = self.busy.as_secs_f64() / (self.workload.seconds() * f64::from(engines));
        let preemptions = self.engines.iter().map(|engine| engine.counts().preemptions).sum();
        Ended {
            fates: self.fates,
            served: self.served,
            utilisation: Some(utilisation),
            preemptions: Some(preemptions),
        }
    }

    /// How many engines there are.
    #[must_use]
    pub(crate) fn engines(&self) -> usize {
        self.engines.len()
    }

    /// Requests that an engine has: waiting in it, and all.
    #[must_use]
    pub(crate) fn load(&self, engine: usize) -> (usize, usize) {
        let waiting = self.engines[engine].waiting();
        (waiting, waiting + self.engines[engine].running())
    }

    /// A request as it was offered.
    #[must_use]
    pub(crate) fn offered(&self, request: usize) -> &Offered {
        &self.workload.offered[request]
    }

    /// Sends a request to an engine. Lower priorities are sooner, at engines that go by them.
    pub(crate) fn send(&mut self, request: usize, engine: usize, priority: i64) {
        let offered = self.workload.offered[request];
        let sequence = Sequence {
            id: request as u64,
            priority,
            prompt_tokens: offered.prompt,
            output_tokens: offered.output,
            prefix: [].into(),
        };
        if self.engines[engine].add(self.now, sequence).is_err() {
            return self.refuse(request, "too long");
        }
        self.at[request] = Some(engine);
        self.begin_step(engine);
    }

    /// A request is not served.
    pub(crate) fn refuse(&mut self, request: usize, reason: &'static str) {
        self.fates[request].refused = Some((self.now, reason));
    }

    /// Takes a request out of its engine, if it has no token yet. Returns whether it was there.
    pub(crate) fn stop(&mut self, request: usize) -> bool {
        let Some(engine) = self.at[request].filter(|_| self.fates[request].made == 0) else { return false };
        self.at[request] = None;
        self.engines[engine].abort(request as u64).is_some()
    }

    /// Asks to be woken at a time.
    pub(crate) fn wake_at(&mut self, at: Duration) {
        if self.woken.is_none_or(|woken| at < woken) {
            self.woken = Some(at);
            self.events.push(Reverse((at.max(self.now), Event::Wake)));
        }
    }

    fn begin_step(&mut self, engine: usize) {
        if self.stepping[engine] {
            return;
        }
        if let Some(step) = self.engines[engine].begin(self.now) {
            self.stepping[engine] = true;
            let end = self.now + step;
            let (from, to) = self.workload.counted;
            self.busy += end.min(to).saturating_sub(self.now.max(from));
            self.events.push(Reverse((end, Event::Step(engine))));
        }
    }

    fn end_step(&mut self, engine: usize, progress: &mut Vec<Progress>, made: &mut Vec<Made>) {
        self.stepping[engine] = false;
        progress.clear();
        made.clear();
        self.engines[engine].end(self.now, progress);
        for progress in progress.iter() {
            let request = usize::try_from(progress.id).unwrap_or(usize::MAX);
            let fate = &mut self.fates[request];
            // A sequence that was thrown out has its prompt computed again; its first token came before.
            let first = matches!(progress.moment, Moment::Prefilled { .. }) && fate.made == 0;
            if first {
                fate.first = Some(self.now);
            }
            fate.made += 1;
            (fate.last, fate.done) = (self.now, progress.finished.is_some());
            self.served.add(self.now, &self.workload.offered[request], first, 1);
            made.push(Made { request, first, last: fate.done });
        }
    }
}
