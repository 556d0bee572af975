//! Money, prices and price lists, against properties and against numbers that were worked out by hand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod gpu;
mod history;
mod litellm;
mod money;
mod price;
