//! What tokens and GPUs cost: money without rounding, prices with versions, and the price list that LiteLLM publishes.
//!
//! Nothing here does I/O or knows the time. An amount of [`Money`] is whole pico-dollars; a [`Price`] is pico-dollars
//! for a million tokens, as prices are quoted; what a price does not say stays `None` and is never taken for zero.

pub mod gpu;
mod history;
pub mod litellm;
mod money;
mod price;

pub use history::{History, Version};
pub use money::{Money, NotMoney};
pub use price::{Cost, Price, Tokens};
