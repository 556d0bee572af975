//! Work that outlives its process: one table that several workers take from, each row by one of them at a time.
//!
//! A row is entered in a queue ([`enter`]), taken under a lease ([`take`]), and ended by whoever holds it. The lease is
//! fenced: every taking raises the row's fence, and whoever writes names the fence that they were given, so a worker that
//! was believed dead can change nothing any more. [`look`] reads rows, [`worker`] runs them, [`back_off`] says when again.
//!
//! The table is called `claims` in the schema of each service that has one; their migrations make it, all alike. On
//! PostgreSQL takers pass each other by with `SKIP LOCKED`, on SQLite there is one writer anyway. What is to be done, what
//! came of it and why it failed are sealed ([`TABLE`]).

mod back_off;
mod enter;
mod look;
mod take;
mod worker;

pub use back_off::BackOff;
pub use enter::{Entered, enter};
pub use look::{Busy, Count, Filter, Row, busy, count, get, page, waiting};
pub use take::{Beat, again, back, beat, cancel, end, end_held, holds, next_due, purge, take};
pub use worker::{Ended, Failed, Held, Pace, Tallied, Tally, Why, Work, Workers};

use crate::seal::rows::Table;
use policy::Time;
use uuid::Uuid;

/// The table and what of it is sealed.
pub const TABLE: Table = Table { name: "claims", key: ("id", None), columns: &[PAYLOAD, RESULT, MESSAGE] };

const PAYLOAD: &str = "payload";
const RESULT: &str = "result";
const MESSAGE: &str = "message";

/// Where a piece of work stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nobody has it: it is new, or is to be tried again.
    Pending,
    /// Somebody has it.
    Running,
    /// It was done.
    Succeeded,
    /// It was given up.
    Failed,
    /// Its owner wanted it no more.
    Cancelled,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Whether nothing will change any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The number in the table; never given to another one. Up to 2 it is not over.
    const fn number(self) -> i32 {
        match self {
            Self::Pending => 1,
            Self::Running => 2,
            Self::Succeeded => 3,
            Self::Failed => 4,
            Self::Cancelled => 5,
        }
    }

    fn from_number(number: i32) -> Result<Self, sqlx::Error> {
        let known = Self::ALL.into_iter().find(|state| state.number() == number);
        known.ok_or_else(|| sqlx::Error::Decode("claims: state holds what this version cannot read".into()))
    }
}

/// A piece of work to be entered.
#[derive(Debug, Clone)]
pub struct New<'a> {
    /// Its id; a version 7 UUID, because lists are in the order of ids.
    pub id: Uuid,
    /// Whose workers take it.
    pub queue: &'static str,
    /// What is to be done.
    pub kind: &'static str,
    /// Whose it is.
    pub owner: Uuid,
    /// What it is done with.
    pub payload: &'a [u8],
    /// While it is not over, nothing else with the same lock can be entered.
    pub lock: Option<&'a str>,
    /// The owner's name for this entry, and what it is for: entered again under it, the first one is found.
    pub request: Option<(&'a str, &'a [u8])>,
    /// How often it may be begun.
    pub attempts: u32,
    /// Not before.
    pub due: Time,
}

/// A piece of work that was taken.
#[derive(Debug, Clone)]
pub struct Claim {
    /// What proves that it is held.
    pub ticket: Ticket,
    /// What is to be done.
    pub kind: String,
    /// Whose it is.
    pub owner: Uuid,
    /// What it is done with.
    pub payload: Vec<u8>,
    /// The how manieth time it is begun, from 1.
    pub attempt: u32,
    /// How often it may be begun.
    pub attempts: u32,
    /// How far it had come, 0 to 100.
    pub percent: u8,
    /// Whether its owner wants it no more.
    pub cancel: bool,
    /// The lock that it holds.
    pub lock: Option<String>,
    /// Since when it is there.
    pub created: Time,
}

/// Proves that a row is held, as long as nobody else took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The row.
    pub id: Uuid,
    /// The row's fence when it was taken.
    pub fence: i64,
}

/// How a piece of work ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Done, with this result.
    Succeeded(Vec<u8>),
    /// Given up for a reason, in SCREAMING_CASE, and a sentence.
    Failed(Failure),
    /// Its owner wanted it no more.
    Cancelled,
}

/// Why something was given up, or is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In SCREAMING_CASE.
    pub reason: String,
    /// A sentence for its owner.
    pub message: String,
}
