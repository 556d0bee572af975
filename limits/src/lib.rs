//! How much of what a caller may do in a while: sliding windows over requests and tokens, and counts of calls under way.
//!
//! Pure: told the time and who calls, it answers with decisions, so the same code runs in every service and in tests.
//! A path is an [`Action`] by the table of [`routes`](Settings::routes); an action has limits, each for every subject of
//! one [`Layer`]. What a limit comes to here and now is scaled by the caller's [`Tier`], the hour and the load
//! ([`scale`]). [`Limiter`] holds the counters and decides; [`share`] is what replicas tell each other of them.
//!
//! A window is exact to a twentieth of its length, and errs to the side of refusing: see [`window`]. How far several
//! replicas together may go beyond a limit is stated in [`share`]. Apart from all of that, [`AtOnce`] bounds what a process
//! does at once, whoever calls.

mod action;
mod at_once;
mod counter;
mod decision;
mod limiter;
mod route;
mod rule;
pub mod scale;
mod settings;
pub mod share;
mod subject;
mod table;
pub mod window;

pub use action::{Action, Importance, Limit, Measure};
pub use at_once::{AtOnce, Full, Taken, Weight};
pub use decision::{Admission, Gauge, Refusal, Standing};
pub use limiter::{Call, Limiter, Moment, Row, Seen, Stage};
pub use rule::ActionId;
pub use scale::{Level, Tier};
pub use settings::{Hours, Load, Settings, Sharing, Threshold, Thresholds, Tiers};
pub use subject::{Layer, Subjects, name};
