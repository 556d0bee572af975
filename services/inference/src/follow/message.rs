//! From the contract's messages to the replica's: snapshots arrive in parts and are one message once they are whole.

use policy::{Change, Delta, Heartbeat, Message, Revision, Snapshot, Time};
use proto::permissions::v1::{WatchPolicyResponse, watch_policy_response::Message as Wire};
use shared::{
    time,
    wire::{self, Malformed},
};

/// The parts of a snapshot that came so far.
#[derive(Debug, Default)]
pub(super) struct Parts {
    facts: Vec<Change>,
}

impl Parts {
    /// The message that is complete with this one, if any.
    pub(super) fn take(&mut self, message: WatchPolicyResponse) -> Result<Option<Message>, Malformed> {
        let epoch = message.epoch.parse().map_err(|_| Malformed("epoch"))?;
        Ok(match message.message.ok_or(Malformed("message"))? {
            Wire::Snapshot(part) => {
                for fact in &part.facts {
                    self.facts.push(wire::change_from_proto(fact)?);
                }
                if !part.last {
                    return Ok(None);
                }
                let facts = std::mem::take(&mut self.facts);
                let at = instant(part.time.as_ref())?;
                Some(Message::Snapshot(Snapshot { epoch, revision: Revision(part.revision), at, facts }))
            }
            Wire::Delta(delta) => {
                let changes = delta.changes.iter().map(wire::change_from_proto).collect::<Result<_, _>>()?;
                let at = instant(delta.commit_time.as_ref())?;
                Some(Message::Delta(Delta { epoch, revision: Revision(delta.revision), at, changes }))
            }
            Wire::Heartbeat(heartbeat) => {
                let at = instant(heartbeat.time.as_ref())?;
                Some(Message::Heartbeat(Heartbeat { epoch, head: Revision(heartbeat.revision), at }))
            }
        })
    }
}

fn instant(time: Option<&prost_types::Timestamp>) -> Result<Time, Malformed> {
    time.and_then(time::from_proto).ok_or(Malformed("time"))
}
