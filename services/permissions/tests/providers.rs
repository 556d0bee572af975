//! Signing in with providers outside (A3): a real OpenID provider in a process of its own, and a server that behaves as
//! GitHub documents itself; the service over an in-process channel, on both engines.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: whatever is not as expected fails the test"
)]

#[path = "providers/browser.rs"]
mod browser;
#[path = "providers/config.rs"]
mod config;
#[path = "providers/github.rs"]
mod github;
#[path = "providers/idp.rs"]
mod idp;
#[path = "providers/incidents.rs"]
mod incidents;
#[path = "providers/linking.rs"]
mod linking;
#[path = "providers/octocat.rs"]
mod octocat;
#[path = "providers/oidc.rs"]
mod oidc;
#[path = "providers/secrets.rs"]
mod secrets;
#[path = "providers/site.rs"]
mod site;
#[expect(dead_code, unused_imports, unused_macros, reason = "shared with the suite, which uses all of it")]
#[path = "suite/world.rs"]
mod world;
