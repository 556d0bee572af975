//! What is known of the program at the other end of a session. It may tell where somebody is, so it is kept encrypted.

use super::Session;
use crate::error::Error;
use policy::SessionId;
use serde::{Deserialize, Serialize};
use shared::seal::Sealer;
use std::net::IpAddr;

/// Longest name of a client that is kept, in characters.
const AGENT: usize = 256;

/// Who opened a session, by its own words and by its address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Client {
    pub(crate) agent: String,
    pub(crate) peer: Option<IpAddr>,
}

impl Client {
    /// What called itself so, from this address.
    pub(crate) fn new(agent: &str, peer: Option<IpAddr>) -> Self {
        let agent = agent.chars().filter(|letter| !letter.is_control()).take(AGENT).collect();
        Self { agent, peer }
    }

    pub(super) fn seal(&self, sealer: &Sealer, session: SessionId) -> Vec<u8> {
        // Text and an address always have a JSON form.
        sealer.seal(&place(session), &serde_json::to_vec(self).unwrap_or_default())
    }

    pub(super) fn open(sealer: &Sealer, session: &Session) -> Result<Self, Error> {
        let plain = sealer.open(&place(session.id), &session.sealed_client)?;
        Ok(serde_json::from_slice(&plain).unwrap_or_default())
    }
}

fn place(session: SessionId) -> String {
    format!("sessions.client {session}")
}
