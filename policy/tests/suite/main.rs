//! What the engine promises, held against random worlds and a second, naive implementation of the same rules.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop right there")]

mod decision;
mod effective;
mod expand;
mod explain;
mod key;
mod lookup;
mod oracle;
mod replica;
mod rules;
mod simulate;
mod state;
mod wire;
mod world;
