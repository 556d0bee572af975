//! What is learned of engines that are not as they are believed to be.

use crate::{
    Action, Capacity, Made, Outcome, Request, Scheduler, Settings, Speed, Ticket, Verdict, cost::Prefill,
};
use std::{collections::HashMap, sync::Arc, time::Duration};

const STEP_TOKENS: u32 = 8_192;

struct Answer {
    ticket: Ticket,
    made: Made,
    prompt: u32,
    computed: u32,
    tokens: u32,
    most: u32,
}

/// An engine that goes step by step: prompts up to a number of tokens, and one token of each answer.
struct Steps {
    scheduler: Scheduler,
    speed: Speed,
    streams: bool,
    now: Duration,
    known: HashMap<Ticket, (Made, u32, u32)>,
    held: Vec<Answer>,
    arrived: u32,
    done: u32,
}

impl Steps {
    fn new(believed: Speed, speed: Speed, streams: bool) -> Self {
        let mut scheduler = Scheduler::new(Settings { refusing: false, ..Settings::fair() });
        scheduler.engine(0, &["model".to_owned()], true, Capacity::default(), believed);
        let (known, held) = (HashMap::new(), Vec::new());
        Self { scheduler, speed, streams, now: Duration::ZERO, known, held, arrived: 0, done: 0 }
    }

    fn arrive(&mut self) {
        let prompt = 50 + self.arrived * 7_919 % 4_000;
        let most = 10 + self.arrived * 104_729 % 120;
        self.arrived += 1;
        let made = Made::default();
        let request = Request {
            model: "model",
            path: &[],
            class: crate::Class::Interactive,
            spare: false,
            prompt,
            most: None,
            prefix: Arc::default(),
            asks: 0,
            arrived: self.now,
            deadline: None,
            patience: Duration::from_secs(3_600),
            avoid: None,
            only: None,
            streams: self.streams,
            preempted: 0,
            made: made.clone(),
        };
        let Verdict::Queued(ticket) = self.scheduler.arrive(&request, self.now) else { panic!("refused") };
        self.known.insert(ticket, (made, prompt, most));
    }

    fn start(&mut self) {
        while let Some(action) = self.scheduler.next(self.now) {
            let Action::Start { ticket, .. } = action else { panic!("{action:?}") };
            let (made, prompt, most) = self.known.remove(&ticket).unwrap();
            self.held.push(Answer { ticket, made, prompt, computed: 0, tokens: 0, most });
        }
    }

    fn step(&mut self) {
        let (mut left, mut seconds) = (STEP_TOKENS, self.speed.step);
        for answer in &mut self.held {
            let chunk = left.min(answer.prompt - answer.computed);
            if answer.computed == answer.prompt {
                seconds +=
                    self.speed.sequence + self.speed.context * f64::from(answer.prompt + answer.tokens);
            }
            let new = Prefill::of(answer.computed + chunk, answer.computed);
            seconds += self.speed.prefill * new.tokens + self.speed.attention * new.pairs;
            answer.computed += chunk;
            left -= chunk;
        }
        self.now += Duration::from_secs_f64(seconds);
        let held = std::mem::take(&mut self.held);
        for mut answer in held {
            if answer.computed == answer.prompt {
                self.token(&mut answer);
            }
            if answer.tokens < answer.most {
                self.held.push(answer);
            }
        }
    }

    fn token(&mut self, answer: &mut Answer) {
        answer.tokens += 1;
        if self.streams {
            if answer.tokens == 1 {
                self.scheduler.first_token(answer.ticket, self.now);
            }
            answer.made.add(1);
        } else if answer.tokens == answer.most {
            answer.made.add(answer.most);
        }
        if answer.tokens == answer.most {
            self.scheduler.finished(answer.ticket, Outcome::Done, self.now);
            self.done += 1;
        }
    }

    /// Serves so many requests, with up to eight there at once.
    fn serve(&mut self, requests: u32) {
        while self.done < requests {
            while self.held.len() + self.known.len() < 8 {
                self.arrive();
            }
            self.start();
            if self.held.is_empty() {
                self.now += Duration::from_millis(5);
            } else {
                self.step();
            }
        }
    }
}

fn times(speed: Speed, by: f64) -> Speed {
    let Speed { step, prefill, attention, sequence, context } = speed;
    Speed {
        step: step * by,
        prefill: prefill * by,
        attention: attention * by,
        sequence: sequence * by,
        context: context * by,
    }
}

/// Serves requests at an engine that takes `by` times what is believed of it, and compares.
#[track_caller]
fn learns(by: f64, streams: bool, requests: u32, within: f64) {
    let believed = Speed::default();
    let speed = times(believed, by);
    let mut steps = Steps::new(believed, speed, streams);
    steps.serve(requests);
    let engine = &steps.scheduler.engines[0];
    let prompt = Prefill::of(2_000, 0);
    let prefill =
        engine.cost.prefill(prompt) / (speed.prefill * prompt.tokens + speed.attention * prompt.pairs);
    let step =
        engine.cost.step(6.0, 10_000.0) / (speed.step + 6.0 * speed.sequence + 10_000.0 * speed.context);
    for (what, ratio) in [("a prompt", prefill), ("a step", step)] {
        assert!(
            (1.0 / within..within).contains(&ratio),
            "{what} is believed to take {ratio} of what it does"
        );
    }
    assert!((0.0..=1.0).contains(&engine.cost.margin()), "{}", engine.cost.margin());
    for size in [100.0, 1_000.0, 4_000.0] {
        let correction = engine.cost.correction(size, steps.now.as_secs_f64());
        assert!((0.5..=2.0).contains(&correction), "{size}: {correction}");
    }
}

#[test]
fn an_engine_three_times_slower_than_believed_is_found_out_by_streams() {
    learns(3.0, true, 300, 1.25);
}

#[test]
fn an_engine_three_times_faster_than_believed_is_found_out_by_streams() {
    learns(1.0 / 3.0, true, 300, 1.25);
}

#[test]
fn an_engine_three_times_slower_than_believed_is_found_out_by_whole_answers() {
    learns(3.0, false, 500, 1.5);
}

#[test]
fn an_engine_three_times_faster_than_believed_is_found_out_by_whole_answers() {
    learns(1.0 / 3.0, false, 500, 1.5);
}
