//! Several gateways over the same engines.

pub mod claims;
mod owner;
