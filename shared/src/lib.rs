//! What every Tollgate service needs and none of them owns.
//!
//! A request crosses the layers of [`server`] in this order, outermost first: request id → span and
//! metrics → deadline → load shed → authentication and limits → service. No module here knows a business word.

pub mod api_key;
pub mod auth;
pub mod channel;
pub mod claims;
pub mod config;
pub mod db;
pub mod deadline;
pub mod dynamic;
pub mod event;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod health;
pub mod limits;
pub mod machine;
pub mod page;
pub mod peer;
pub mod process;
pub mod redis;
pub mod report;
pub mod request_id;
pub mod seal;
pub mod security;
pub mod server;
pub mod status;
pub mod telemetry;
pub mod time;
pub mod tls;
pub mod wire;
