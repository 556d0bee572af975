//! The edge through its router, with gRPC and HTTP servers behind it that speak the contract on the wire.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cors;
mod door;
mod errors;
mod forward;
mod openapi;
mod rest;
mod services;
mod stream;
