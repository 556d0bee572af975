//! What the limiter promises, held against plain counting.
#![expect(clippy::unwrap_used, reason = "test code: whatever is not as expected fails the test")]

mod at_once;
mod bounded;
mod concurrent;
mod replicas;
mod scaled;
mod settings;
mod windows;
mod world;
