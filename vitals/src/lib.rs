//! How well things are: judged from looks, figures and words, without I/O and without a clock.
//!
//! [`Steady`] makes a standing of single looks, so that nothing flaps. [`Bounds`] say where a figure is degraded and where
//! critical. [`overall`] makes one [`Status`] of many dependencies. [`Mode`] says when a gateway serves only what is urgent.
//!
//! Time is a [`Duration`](std::time::Duration) since any one moment that the caller keeps to.

mod bounds;
mod mode;
mod overall;
mod status;
mod steady;

pub use bounds::Bounds;
pub use mode::{DWELL, Mode, Order, Sign, Signs};
pub use overall::{Dependency, Overall, overall};
pub use status::{Kind, Status};
pub use steady::{DOWN_AFTER, Standing, Steady, UP_AFTER};
