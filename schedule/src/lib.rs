//! Whose request runs next, on which engine, and which one is refused because it could not be in time.
//!
//! Pure: told the time and the events, it answers with decisions, so the same code runs in the gateway, in tests and
//! in a simulation in virtual time. A request [arrives](Scheduler::arrive) and waits in [`queue`], ordered by the fair
//! shares of [`fair`]; [`next`](Scheduler::next) hands out the starts, as fast as [`engine`]'s ledger of what was sent
//! and has not come back lets a prompt in, by what [`cost`] has learned of that engine.
//!
//! Time is a [`Duration`](std::time::Duration) since any one moment that the caller keeps to.

mod class;
mod cost;
mod engine;
mod fair;
mod fit;
mod limit;
mod made;
mod output;
mod prefix;
mod queue;
mod rate;
mod request;
mod returns;
mod scheduler;
mod settings;

pub use class::{Class, Objective};
pub use cost::Speed;
pub use engine::{Capacity, EngineId, Load};
pub use fair::Share;
pub use made::Made;
pub use request::{Outcome, Refusal, Request, Ticket};
pub use scheduler::{Action, Line, Mark, Scheduler, Verdict, Wait, Why};
pub use settings::Settings;
