//! Budgets against calendars, against arithmetic by hand, and in a simulation with gateways that die.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod forecast;
mod purse;
mod simulation;
mod threshold;
mod window;
