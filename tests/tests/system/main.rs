//! The real binary as a black box, one file per promise.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod acknowledged;
mod agent;
mod alerts;
mod apart;
mod away;
mod background;
mod bad_input;
mod budgets;
mod chat;
mod config;
mod crash;
mod encrypted;
mod engines;
mod events;
mod failover;
mod figures;
mod forwarded;
mod gateways;
mod hangup;
mod health;
mod imports;
mod incidents;
mod journey;
mod killing;
mod limits;
mod lines;
mod operate;
mod permission;
mod queue;
mod readers;
mod replicas;
mod secrets;
mod sessions;
mod surface;
mod top;
mod traces;
mod why;
