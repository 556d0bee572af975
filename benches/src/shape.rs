//! Streams of one kind, asked for again and again: what is measured of an engine.

use crate::{
    fit::Observation,
    probe::{Heard, Probe},
};
use anyhow::Context;
use std::time::Instant;

/// Tokens that are looked at together where single ones would show how they were sent.
const SPAN: u32 = 8;

/// How many streams of what length, and what was seen of them.
#[derive(Debug)]
pub struct Shape {
    streams: usize,
    /// Words of the prompt of each, and tokens of its answer.
    words: u32,
    tokens: u32,
    /// Tokens of the prompt, as the engine counts them.
    prompt: u32,
    times: Vec<f64>,
    /// Tokens each of the streams had made, on the average.
    made: f64,
    /// How much the gaps between tokens differed, each time it was measured.
    pub noises: Vec<f64>,
}

impl Shape {
    /// A single stream of one token, for the time to it.
    #[must_use]
    pub const fn first_token(words: u32) -> Self {
        Self::together(1, words, 1)
    }

    /// Streams together, for the length of their steps.
    #[must_use]
    pub const fn together(streams: usize, words: u32, tokens: u32) -> Self {
        Self { streams, words, tokens, prompt: 0, times: Vec::new(), made: 0.0, noises: Vec::new() }
    }

    /// Words and tokens of each of the streams, and of all.
    #[must_use]
    pub const fn size(&self) -> (u32, u64) {
        let each = self.words + self.tokens;
        (each, each as u64 * self.streams as u64)
    }

    /// Asks for them once.
    ///
    /// # Errors
    /// When one of them is not answered well.
    pub fn measure(&mut self, probe: &Probe, prompts: &mut Prompts) -> anyhow::Result<()> {
        let heard = probe.together(&prompts.next(self.streams, self.words), self.tokens)?;
        self.prompt = heard.iter().map(|heard| heard.prompt_tokens).max().unwrap_or(0);
        if self.tokens == 1 {
            self.times.push(heard.first().and_then(Heard::first_token).context("a stream without a token")?);
        } else if let Some(window) = Window::of(&heard, self.tokens / 8) {
            self.times.push(window.step(&heard));
            self.noises.extend(window.noise(&heard));
            self.made = window.made(&heard);
        }
        Ok(())
    }

    /// What was seen, unless that was nothing: the lower quartile, since what else the machine does adds far more often
    /// than it takes away. The engine computes at most so many tokens a step.
    #[must_use]
    pub fn seen(&self, most: u32) -> Option<Observation> {
        let (time, streams) = (quantile(&self.times, 0.25)?, self.streams as f64);
        Some(match self.tokens {
            1 => Observation::first_token(self.prompt, most, time),
            _ => Observation::step(streams, streams * (f64::from(self.prompt) + self.made), time),
        })
    }
}

/// The time in which all streams were making tokens.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: Instant,
    to: Instant,
}

impl Window {
    /// Fewer tokens than asked for would say more about who came first than about steps.
    fn of(heard: &[Heard], least: u32) -> Option<Self> {
        let from = heard.iter().filter_map(|heard| heard.events.first()).map(|(at, _)| *at).max()?;
        let to = heard.iter().filter_map(|heard| heard.events.last()).map(|(at, _)| *at).min()?;
        let made =
            heard.iter().map(|heard| heard.tokens_at(to).saturating_sub(heard.tokens_at(from))).min()?;
        (to > from && made >= least).then_some(Self { from, to })
    }

    /// Seconds a step took: the time over the tokens of one stream.
    fn step(&self, heard: &[Heard]) -> f64 {
        let made: u32 = heard.iter().map(|heard| heard.tokens_at(self.to) - heard.tokens_at(self.from)).sum();
        (self.to - self.from).as_secs_f64() * heard.len() as f64 / f64::from(made)
    }

    /// Tokens each stream had made, on the average over the window.
    fn made(&self, heard: &[Heard]) -> f64 {
        let made: u32 = heard.iter().map(|heard| heard.tokens_at(self.to) + heard.tokens_at(self.from)).sum();
        f64::from(made) / 2.0 / heard.len() as f64
    }

    /// How much single steps differ, as a share of the middle one. Events come early and late by themselves, so spans of
    /// several tokens are compared; where steps are independent these differ by the root of their number less. By the
    /// quantiles that would lie one standard deviation from the middle, so that a few outliers do not decide.
    fn noise(&self, heard: &[Heard]) -> Option<f64> {
        let inside = heard.first()?.events.iter().filter(|(at, _)| *at >= self.from && *at <= self.to);
        let mut marks: Vec<&(Instant, u32)> = Vec::new();
        for event in inside {
            if marks.last().is_none_or(|last| event.1 >= last.1 + SPAN) {
                marks.push(event);
            }
        }
        let step = |pair: &[&(Instant, u32)]| {
            (pair[1].0 - pair[0].0).as_secs_f64() / f64::from(pair[1].1 - pair[0].1)
        };
        let steps: Vec<f64> = marks.windows(2).map(step).collect();
        let width = (quantile(&steps, 0.84)? - quantile(&steps, 0.16)?) / 2.0;
        Some(width / quantile(&steps, 0.5)? * f64::from(SPAN).sqrt())
    }
}

/// The value that this share of all lies below, unless there is none.
#[must_use]
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() as f64 * share) as usize).copied()
}

/// Prompts no two of which begin alike, in this run or another, so that nothing comes from a cache.
#[derive(Debug)]
pub struct Prompts {
    run: u32,
    made: u32,
}

impl Prompts {
    /// Those of one run, which a number tells from the others.
    #[must_use]
    pub const fn new(run: u32) -> Self {
        Self { run, made: 0 }
    }

    /// So many more, of so many words.
    pub fn next(&mut self, many: usize, length: u32) -> Vec<String> {
        (0..many).map(|_| self.one(length)).collect()
    }

    fn one(&mut self, length: u32) -> String {
        self.made += 1;
        let name = [self.run, self.run / 400, self.made, self.made / 400];
        let text = (0..).map(|place| place * 7 + self.made);
        let words = name.into_iter().chain(text).map(|number| format!("w{}", number % 400));
        words.take(length as usize).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashSet, time::Duration};

    /// A stream whose events came at these milliseconds, with these counts.
    fn heard(start: Instant, events: &[(u64, u32)]) -> Heard {
        let at = |millis: u64| start + Duration::from_millis(millis);
        Heard {
            sent: start,
            prompt_tokens: 5,
            events: events.iter().map(|(millis, tokens)| (at(*millis), *tokens)).collect(),
        }
    }

    #[test]
    fn only_the_time_in_which_all_were_making_tokens_counts() {
        let start = Instant::now();
        let early = heard(start, &[(10, 1), (20, 2), (30, 3), (40, 4), (50, 5), (60, 6)]);
        // The later one has the same steps, but two of its tokens share an event.
        let late = heard(start, &[(30, 1), (50, 3), (60, 4), (70, 5), (80, 6)]);
        let both = [early, late];
        let window = Window::of(&both, 3).unwrap();
        assert!((window.step(&both) - 0.010).abs() < 1e-9);
        assert!((window.made(&both) - 3.5).abs() < 1e-9, "from three and one to six and four");
        assert!(Window::of(&both, 4).is_none(), "too few tokens to say anything");
        assert_eq!(both[0].first_token(), Some(0.010));
    }

    #[test]
    fn streams_that_never_ran_together_say_nothing() {
        let start = Instant::now();
        let apart = [heard(start, &[(10, 1), (20, 2)]), heard(start, &[(30, 1), (40, 2)])];
        assert!(Window::of(&apart, 0).is_none());
    }

    #[test]
    fn the_noise_is_that_of_the_steps_and_not_of_how_events_are_sent() {
        let start = Instant::now();
        // Every other token is late by nearly a step, and every other eight take a tenth longer.
        let at =
            |place: u64| place * 100 + place / 16 * 80 + (place % 16).saturating_sub(8) * 10 + place % 2 * 90;
        let events: Vec<(u64, u32)> = (0..=200).map(|place| (at(place), place as u32 + 1)).collect();
        let one = [heard(start, &events)];
        let noise = Window::of(&one, 10).unwrap().noise(&one).unwrap();
        assert!((noise - 0.05 * f64::from(SPAN).sqrt()).abs() < 0.02, "{noise}");
    }

    #[test]
    fn no_two_prompts_begin_alike() {
        let mut prompts = Prompts::new(7);
        let made = prompts.next(1000, 16);
        let four = |prompt: &String| prompt.split(' ').take(4).collect::<String>();
        let beginnings: HashSet<String> = made.iter().map(four).collect();
        assert_eq!(beginnings.len(), 1000);
        assert_ne!(Prompts::new(8).next(1, 4), Prompts::new(9).next(1, 4));
    }
}
