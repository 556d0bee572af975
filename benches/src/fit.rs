//! From what was seen of an engine to the figures of a profile: least squares over a sum of costs, none of them negative.
//!
//! Each observation says what was done and how long it took. Observations are weighed by their size, so that the relative
//! error is what gets small, and a long prompt does not drown a single token.

use simulator::{
    Profile,
    batching::{Limits, Speed, Work},
};
use std::fmt;

/// What there is to be found out: rendering, steps, and the four kinds of work.
const COSTS: usize = 6;

/// Something that was done, and how long it took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// Requests rendered: one when this is a time to first token, none when it is a step among others.
    pub rendered: f64,
    /// Steps it took.
    pub steps: f64,
    /// What was in them.
    pub work: Amounts,
    /// How long it took.
    pub seconds: f64,
}

/// The amounts of [`Work`], which as means need not be whole.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Amounts {
    /// Tokens of prompts.
    pub prefill_tokens: f64,
    /// Pairs of such a token and one it looks back on.
    pub attended: f64,
    /// Sequences.
    pub sequences: f64,
    /// Tokens that tokens being made look back on.
    pub context_tokens: f64,
}

/// The figures that fit best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fitted {
    /// Milliseconds before a request is queued.
    pub render_ms: f64,
    /// What the parts of a step cost; the noise is not found here.
    pub speed: Speed,
    /// Root of the mean square of the relative errors.
    pub error: f64,
    /// The largest relative error.
    pub worst: f64,
}

impl From<Work> for Amounts {
    fn from(work: Work) -> Self {
        Self {
            prefill_tokens: work.prefill_tokens as f64,
            attended: work.attended as f64,
            sequences: work.sequences as f64,
            context_tokens: work.context_tokens as f64,
        }
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (milliseconds, work) = (self.seconds * 1e3, &self.work);
        match self.rendered > 0.0 {
            true => write!(
                formatter,
                "prompt of {}: {milliseconds:.2} ms to the first token",
                work.prefill_tokens
            ),
            false => write!(
                formatter,
                "{} streams, {:.0} tokens in front of each: {milliseconds:.2} ms a step",
                work.sequences,
                work.context_tokens / work.sequences
            ),
        }
    }
}

impl Observation {
    /// The first token of a prompt on an idle engine that computes at most so many tokens a step.
    #[must_use]
    pub fn first_token(prompt_tokens: u32, most: u32, seconds: f64) -> Self {
        let (mut work, mut computed, mut steps) = (Amounts::default(), 0, 0.0);
        while computed < prompt_tokens {
            let tokens = (prompt_tokens - computed).min(most.max(1));
            let chunk = Amounts::from(Work::prefill(tokens, computed));
            work.prefill_tokens += chunk.prefill_tokens;
            work.attended += chunk.attended;
            work.sequences += chunk.sequences;
            computed += tokens;
            steps += 1.0;
        }
        Self { rendered: 1.0, steps, work, seconds }
    }

    /// One step of so many sequences that make tokens, with so many tokens in front of them altogether.
    #[must_use]
    pub fn step(sequences: f64, context_tokens: f64, seconds: f64) -> Self {
        let work = Amounts { sequences, context_tokens, ..Amounts::default() };
        Self { rendered: 0.0, steps: 1.0, work, seconds }
    }

    fn amounts(&self) -> [f64; COSTS] {
        let Amounts { prefill_tokens, attended, sequences, context_tokens } = self.work;
        [self.rendered, self.steps, prefill_tokens, attended, sequences, context_tokens]
    }

    /// By how much the costs miss it, as a share of it.
    fn miss(&self, costs: &[f64; COSTS]) -> f64 {
        let predicted: f64 = self.amounts().iter().zip(costs).map(|(amount, cost)| amount * cost).sum();
        predicted / self.seconds - 1.0
    }
}

/// Finds the figures for what was seen, or nothing when that says too little.
#[must_use]
pub fn fit(seen: &[Observation]) -> Option<Fitted> {
    let mut used = [true; COSTS];
    let costs = loop {
        let costs = least_squares(seen, used)?;
        // What would have to be negative cannot be seen in these observations, and is left out: the least plausible first.
        let negative = (0..COSTS).filter(|cost| costs[*cost] < 0.0);
        match negative.min_by(|one, other| costs[*one].total_cmp(&costs[*other])) {
            Some(cost) => used[cost] = false,
            None => break costs,
        }
    };
    let misses: Vec<f64> = seen.iter().map(|observation| observation.miss(&costs).abs()).collect();
    let squares: f64 = misses.iter().map(|miss| miss * miss).sum();
    let [render, step, prefill, attention, sequence, context] = costs;
    Some(Fitted {
        render_ms: render * 1e3,
        speed: Speed {
            step_ms: step * 1e3,
            prefill_token_us: prefill * 1e6,
            attention_ns: attention * 1e9,
            sequence_us: sequence * 1e6,
            context_token_ns: context * 1e9,
            noise: 0.0,
        },
        error: (squares / misses.len() as f64).sqrt(),
        worst: misses.into_iter().fold(0.0, f64::max),
    })
}

/// A profile as `tollgate engine --profile` reads it.
#[must_use]
pub fn toml(name: &str, profile: &Profile) -> String {
    let Profile { max_model_len, render_ms, limits, speed } = profile;
    let Limits { max_num_seqs, max_num_batched_tokens, block_size, num_gpu_blocks, .. } = limits;
    let Limits { watermark, enable_prefix_caching, .. } = limits;
    let Speed { step_ms, prefill_token_us, attention_ns, sequence_us, context_token_ns, noise } = speed;
    format!(
        "[{name}]\nmax_model_len = {max_model_len}\nrender_ms = {render_ms:.2}\n\n\
         [{name}.limits]\nmax_num_seqs = {max_num_seqs}\nmax_num_batched_tokens = {max_num_batched_tokens}\n\
         block_size = {block_size}\nnum_gpu_blocks = {num_gpu_blocks}\nwatermark = {watermark:?}\n\
         enable_prefix_caching = {enable_prefix_caching}\n\n\
         [{name}.speed]\nstep_ms = {step_ms:.3}\nprefill_token_us = {prefill_token_us:.3}\n\
         attention_ns = {attention_ns:.3}\nsequence_us = {sequence_us:.2}\n\
         context_token_ns = {context_token_ns:.3}\nnoise = {noise:.2}\n"
    )
}

/// Costs that make the sum of the squared relative errors least; those not used are zero.
fn least_squares(seen: &[Observation], used: [bool; COSTS]) -> Option<[f64; COSTS]> {
    // Amounts differ by many orders of magnitude, so each is measured by its largest.
    let mut scale = [0.0_f64; COSTS];
    let rows: Vec<[f64; COSTS]> = seen
        .iter()
        .map(|observation| observation.amounts().map(|amount| amount / observation.seconds))
        .collect();
    for row in &rows {
        for (scale, amount) in scale.iter_mut().zip(row) {
            *scale = scale.max(amount.abs());
        }
    }
    let mut normal = [[0.0; COSTS + 1]; COSTS];
    for (line, equation) in normal.iter_mut().enumerate() {
        if !used[line] || scale[line] == 0.0 {
            equation[line] = 1.0;
            continue;
        }
        for row in &rows {
            let own = row[line] / scale[line];
            for column in (0..COSTS).filter(|column| used[*column] && scale[*column] > 0.0) {
                equation[column] += own * row[column] / scale[column];
            }
            equation[COSTS] += own;
        }
    }
    let solution = solve(normal)?;
    let mut costs = [0.0; COSTS];
    for cost in (0..COSTS).filter(|cost| used[*cost] && scale[*cost] > 0.0) {
        costs[cost] = solution[cost] / scale[cost];
    }
    Some(costs)
}

/// Gauss with pivots; `None` when the equations do not settle every unknown.
fn solve(mut rows: [[f64; COSTS + 1]; COSTS]) -> Option<[f64; COSTS]> {
    for column in 0..COSTS {
        let pivot = (column..COSTS)
            .max_by(|one, other| rows[*one][column].abs().total_cmp(&rows[*other][column].abs()))?;
        if rows[pivot][column].abs() < 1e-12 {
            return None;
        }
        rows.swap(column, pivot);
        for other in (0..COSTS).filter(|other| *other != column) {
            let factor = rows[other][column] / rows[column][column];
            let taken = rows[column].map(|value| value * factor);
            rows[other].iter_mut().zip(taken).for_each(|(value, taken)| *value -= taken);
        }
    }
    Some(std::array::from_fn(|line| rows[line][COSTS] / rows[line][line]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEED: Speed = Speed {
        step_ms: 8.0,
        prefill_token_us: 60.0,
        attention_ns: 1.5,
        sequence_us: 25.0,
        context_token_ns: 52.0,
        noise: 0.0,
    };

    /// What an engine with these figures would show, each time wrong by the share that `wrong` says.
    fn shown(speed: &Speed, wrong: impl Fn(usize) -> f64) -> Vec<Observation> {
        let prompts = [16_u32, 100, 500, 1500, 3000, 8000].map(|tokens| {
            let mut seconds = 0.003;
            for computed in (0..tokens).step_by(2048) {
                let chunk = (tokens - computed).min(2048);
                seconds += speed.duration(&Work::prefill(chunk, computed)).as_secs_f64();
            }
            Observation::first_token(tokens, 2048, seconds)
        });
        let steps = [1_u64, 8, 64].into_iter().flat_map(|sequences| {
            [50, 900, 4000].map(|context| {
                let work = Work { sequences, context_tokens: sequences * context, ..Work::default() };
                let seconds = speed.duration(&work).as_secs_f64();
                Observation::step(sequences as f64, (sequences * context) as f64, seconds)
            })
        });
        let mut all: Vec<Observation> = prompts.into_iter().chain(steps).collect();
        all.iter_mut().enumerate().for_each(|(place, seen)| seen.seconds *= 1.0 + wrong(place));
        all
    }

    #[test]
    fn the_figures_of_an_exact_engine_are_found_again() {
        let fitted = fit(&shown(&SPEED, |_| 0.0)).unwrap();
        let close = |found: f64, true_one: f64| (found / true_one - 1.0).abs() < 1e-4;
        assert!(close(fitted.render_ms, 3.0), "{fitted:?}");
        assert!(close(fitted.speed.step_ms, 8.0) && close(fitted.speed.prefill_token_us, 60.0), "{fitted:?}");
        assert!(close(fitted.speed.attention_ns, 1.5) && close(fitted.speed.sequence_us, 25.0), "{fitted:?}");
        assert!(close(fitted.speed.context_token_ns, 52.0) && fitted.worst < 1e-6, "{fitted:?}");
    }

    #[test]
    fn the_error_says_how_far_off_the_figures_are() {
        let fitted = fit(&shown(&SPEED, |place| if place % 2 == 0 { 0.05 } else { -0.05 })).unwrap();
        assert!(fitted.error > 0.02 && fitted.error < 0.06, "{fitted:?}");
        assert!(fitted.worst >= fitted.error && fitted.worst < 0.12, "{fitted:?}");
    }

    #[test]
    fn nothing_costs_less_than_nothing() {
        let falling = shown(&Speed { context_token_ns: -3.0, ..SPEED }, |_| 0.0);
        let fitted = fit(&falling).unwrap();
        assert_eq!(fitted.speed.context_token_ns, 0.0);
        assert!(fitted.speed.step_ms > 7.0 && fitted.error > 0.0, "{fitted:?}");
    }

    #[test]
    fn what_is_printed_can_be_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), toml("fitted", &Profile::reference())).unwrap();
        assert_eq!(Profile::named(file.path().to_str().unwrap()), Ok(Profile::reference()));
    }

    #[test]
    fn one_observation_is_not_enough() {
        assert!(fit(&[Observation::first_token(100, 2048, 0.1)]).is_none());
    }
}
