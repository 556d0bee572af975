//! A recording at some rate: repeated and compressed, each request with a user and a class drawn from a seed.
//!
//! Unless it is said otherwise, 30 % are interactive, 50 % default, 20 % batch. Users are 100 by Zipf's law with exponent 1.1, or 16 of which one
//! sends half.

use crate::Setting;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use schedule::{Class, Objective, Settings};
use simulator::Profile;
use std::time::Duration;

/// One recorded request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Since the first one.
    pub at: Duration,
    /// Tokens of the prompt.
    pub prompt: u32,
    /// Tokens of the answer.
    pub output: u32,
}

/// Who sends the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Users {
    /// A hundred, the first ones much more than the last.
    #[default]
    Zipf,
    /// Sixteen, of which the first sends half.
    Noisy,
    /// A hundred as before, and one more whose batches are all that is of class batch.
    Jobs,
}

/// One request that arrives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Offered {
    /// When, since the beginning.
    pub at: Duration,
    /// Tokens of the prompt.
    pub prompt: u32,
    /// Tokens of the answer.
    pub output: u32,
    /// How urgent.
    pub class: Class,
    /// Whether it is done only as far as others leave time for it: a line of a batch.
    pub spare: bool,
    /// From whom.
    pub user: usize,
    /// Longest time to the first token, seconds: what its class is promised, but never less than three times what an
    /// idle engine takes. For class batch: to the last one.
    pub patience: f64,
    /// Longest time between tokens on the whole, seconds.
    pub per_token: f64,
}

/// Requests in the order of their arrival.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The requests.
    pub offered: Vec<Offered>,
    /// How many users there are.
    pub users: usize,
    /// Requests of which the fate counts arrive in this span.
    pub counted: (Duration, Duration),
    /// When every counted fate is decided.
    pub settled: Duration,
    /// Part of them for which three times the idle engine's time is more than their class is promised.
    pub stretched: f64,
}

/// Part of the requests that each class has.
pub const MIX: [(Class, f64); 3] = [(Class::Interactive, 0.3), (Class::Default, 0.5), (Class::Batch, 0.2)];
/// Longest time in which a fate is decided: the promise of class batch.
pub const DECIDED: Duration = Duration::from_secs(600);
/// Requests per simulation at most.
const MOST: usize = 5_000_000;

impl Workload {
    /// `rate` in requests a second.
    #[must_use]
    pub fn new(trace: &[Recorded], rate: f64, setting: &Setting) -> Self {
        let span = trace.last().map_or(1.0, |last| last.at.as_secs_f64()) + 1.0;
        let faster = rate / (trace.len() as f64 / span).max(1e-9);
        let end = setting.warm_up + setting.counted;
        let settled = end + setting.settle;
        let stop = settled.as_secs_f64();
        let mut chance = SmallRng::seed_from_u64(setting.seed);
        let crowd = Crowd::of(setting.users);
        let (mut offered, mut lap) = (Vec::new(), 0.0_f64);
        'laps: loop {
            for row in trace {
                let at = lap.mul_add(span, row.at.as_secs_f64()) / faster;
                if at > stop || offered.len() >= MOST {
                    break 'laps;
                }
                let anyone = crowd.pick(chance.random());
                let class = pick_class(&setting.mix, chance.random());
                let jobs = crowd.jobs.filter(|_| class == Class::Batch);
                let one = request(&setting.profile, at, row, class, jobs.unwrap_or(anyone));
                offered.push(Offered { spare: jobs.is_some(), ..one });
            }
            lap += 1.0;
            if trace.is_empty() {
                break;
            }
        }
        let counted = (setting.warm_up, end);
        let stretched = stretched(&offered);
        Self { offered, users: crowd.users(), counted, settled, stretched }
    }

    /// Whether the fate of a request counts.
    #[must_use]
    pub fn counts(&self, offered: &Offered) -> bool {
        (self.counted.0..self.counted.1).contains(&offered.at)
    }

    /// Seconds in which requests are counted.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        (self.counted.1 - self.counted.0).as_secs_f64()
    }
}

fn request(profile: &Profile, at: f64, row: &Recorded, class: Class, user: usize) -> Offered {
    // What no engine takes is cut to what it does, as the gateway would tell the client to.
    let room = profile.max_model_len.max(2);
    let prompt = row.prompt.clamp(1, room - 1);
    let output = row.output.clamp(1, room - prompt);
    let (patience, per_token) = match Settings::fair().objective(class) {
        Objective::Stream { first_token, per_token } => {
            let alone = 3.0 * profile.first_token(prompt).as_secs_f64();
            (first_token.as_secs_f64().max(alone), per_token.as_secs_f64())
        }
        Objective::Whole(whole) => (whole.as_secs_f64(), 0.0),
    };
    let at = Duration::from_secs_f64(at);
    Offered { at, prompt, output, class, spare: false, user, patience, per_token }
}

fn stretched(offered: &[Offered]) -> f64 {
    let promised = |class| Settings::fair().objective(class).patience().as_secs_f64();
    let stretched =
        offered.iter().filter(|offered| offered.patience > promised(offered.class) + 1e-9).count();
    stretched as f64 / offered.len().max(1) as f64
}

fn pick_class(mix: &[(Class, f64)], chance: f64) -> Class {
    let all: f64 = mix.iter().map(|(_, part)| part).sum();
    let mut below = 0.0;
    for (class, part) in mix {
        below += part;
        if chance * all < below {
            return *class;
        }
    }
    Class::Batch
}

/// Users by how much each sends.
struct Crowd {
    limits: Vec<f64>,
    /// Whose everything of class batch is, when it is one's.
    jobs: Option<usize>,
}

impl Crowd {
    fn of(users: Users) -> Self {
        let weights: Vec<f64> = match users {
            Users::Zipf | Users::Jobs => (1..=100).map(|rank| f64::from(rank).powf(-1.1)).collect(),
            Users::Noisy => std::iter::once(15.0).chain(std::iter::repeat_n(1.0, 15)).collect(),
        };
        let all: f64 = weights.iter().sum();
        let limits = weights.iter().scan(0.0, |sum, weight| {
            *sum += weight / all;
            Some(*sum)
        });
        Self { limits: limits.collect(), jobs: (users == Users::Jobs).then_some(weights.len()) }
    }

    fn users(&self) -> usize {
        self.limits.len() + usize::from(self.jobs.is_some())
    }

    fn pick(&self, chance: f64) -> usize {
        self.limits.partition_point(|limit| *limit <= chance).min(self.limits.len() - 1)
    }
}
