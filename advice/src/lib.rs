//! Advice on what GPUs and models cost, from what was used: each with the numbers that it rests on, its formula, and how
//! sure it is. Nothing is advised from too little, and then it is said what is missing.
//!
//! Nothing here does I/O or knows the time. These are estimates, and never an account, so they are in `f64`: dollars,
//! hours, and weighted tokens as GPU time is shared by.

mod fit;
mod idle;
mod model;
mod pool;
mod spot;

pub use fit::fit;
pub use idle::idle;
pub use model::{ModelUse, Offer, model};
pub use pool::{Hour, Pool};
pub use spot::spot;

/// Hours that a month is reckoned with: 365 days of 24 hours in 12 parts.
pub const MONTH: f64 = 730.0;
/// Hours without which nothing is advised.
pub const FEWEST_HOURS: usize = 24;
/// Hours from which on every day of the week was seen.
pub const WEEK: usize = 7 * 24;
/// The part of what an instance can do that it should be given: what arrives is uneven within an hour.
pub const TARGET: f64 = 0.8;

/// What is advised about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Instances that are not needed in some hours.
    Idle,
    /// Instances of another pool that do the same for less.
    Instance,
    /// Another model that answers the same requests for less.
    Model,
    /// Instances that a cloud may take away, for less.
    Spot,
}

/// How sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// Try it.
    Low,
    /// Likely.
    Medium,
    /// It follows from what was used, if that goes on.
    High,
}

/// A number that advice rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// What it is, as the formula has it.
    pub name: &'static str,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
}

/// What should be done, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Advice {
    /// What it is about.
    pub kind: Kind,
    /// The pool or model.
    pub subject: String,
    /// What to do, in words.
    pub text: String,
    /// What it saves in a month if use goes on as it was, in dollars.
    pub saving: f64,
    /// What it was worked out from.
    pub inputs: Vec<Input>,
    /// How: names are those of the inputs.
    pub formula: &'static str,
    /// How sure it is.
    pub confidence: Confidence,
    /// Why it is so sure, and no surer.
    pub because: String,
}

/// Why nothing is advised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// What it would be about.
    pub kind: Kind,
    /// The pool or model.
    pub subject: String,
    /// Why not.
    pub because: String,
}

/// Advice, or why there is none.
pub type Told = Result<Advice, Withheld>;

fn input(name: &'static str, value: f64, unit: &'static str) -> Input {
    Input { name, value, unit }
}

fn withheld(kind: Kind, subject: &str, because: impl Into<String>) -> Told {
    Err(Withheld { kind, subject: subject.to_owned(), because: because.into() })
}
