//! Alerts: what is wrong, since when, and who is to hear of it when. Pure: it is told the time and the samples, which [`Measured`] makes of series.
//!
//! A [`Rule`] has an [`Expression`] over named series, in the words of Prometheus. It is evaluated over [`Signals`], and
//! what it finds moves the rule's [`Alert`]s from pending to firing to resolved ([`Track`]). Each alert finds its ways
//! through the tree of [`Route`]s into groups; a [`Desk`] says when a group is due and what its receiver is told, and of
//! every alert that is held back why ([`Suppression`]).

mod desk;
mod duration;
mod evaluate;
mod expression;
mod fault;
mod import;
mod inhibit;
mod labels;
mod matcher;
mod measured;
mod replay;
mod route;
mod rule;
mod signals;
mod silence;
mod state;
mod template;
mod window;

pub use desk::{Decision, Desk, Due, Group, GroupKey, Reason, Sent, Standing, Suppression, decide};
pub use duration::{Every, format_duration, parse_duration};
pub use evaluate::{Evaluation, evaluate};
pub use expression::{Aggregation, Expression, Grouping, LOOKBACK, Operator, Over};
pub use fault::Fault;
pub use import::{Imported, Refused, defaults, export, import};
pub use inhibit::Inhibition;
pub use labels::{Fingerprint, Labels};
pub use matcher::{Matcher, Matching};
pub use measured::{Measured, Past, Remembered, Window, long_windows};
pub use replay::{Fired, replay};
pub use route::{Limits, Route, Routing, Way};
pub use rule::{NoData, Rule, RuleText, Severity};
pub use signals::{Memory, Sample, Selector, Signals, Time};
pub use silence::{Silence, SilenceState};
pub use state::{Alert, Change, State, Track};
pub use template::Template;
pub use window::{increase, quantile};
