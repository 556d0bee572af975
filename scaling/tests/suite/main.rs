//! What follows from what: moves, records, silence, policies, and a day of load.

mod day;
mod idle;
mod moves;
mod recommend;
mod records;
