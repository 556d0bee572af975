//! How long an instance lives, and how many of them there should be.
//!
//! Pure: told the time and what was seen, it answers with decisions, so the same code runs in monitoring, in the node
//! agent and in tests that replay a day in milliseconds. An instance moves along [`State`]; the agent moves its own as
//! typed [`instance`]s, monitoring keeps a [`Record`] and refuses what does not follow from it. [`Scaler`] recommends
//! replicas from what [`Inputs`] say, as a [`Policy`] allows. [`Idleness`] finds out that an instance has nothing to do.
//!
//! Time is a [`Duration`](std::time::Duration) since 1970, or since any one moment that the caller keeps to.

mod idle;
mod input;
pub mod instance;
mod lease;
mod policy;
mod record;
mod scaler;
mod state;

pub use idle::{Idleness, Seen};
pub use input::{Inputs, Load, Stale};
pub use lease::{Lease, Standing};
pub use policy::{Fault, Pace, Policy, Thresholds};
pub use record::{Claim, Entry, Record, Refused};
pub use scaler::{Fleet, Reason, Recommendation, Scaler, Signal};
pub use state::{Cause, State};
