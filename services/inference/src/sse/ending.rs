//! How a stream that cannot go on ends: with an error in the words of its route, and never as if it were whole.

use crate::prompt::Dialect;
use bytes::Bytes;
use memchr::memmem::find_iter;
use serde_json::json;

/// How a stream would end if it had to now.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    dialect: Dialect,
    /// Events that were passed on.
    events: usize,
}

impl Ending {
    /// Of a stream that has not begun.
    #[must_use]
    pub const fn of(dialect: Dialect) -> Self {
        Self { dialect, events: 0 }
    }

    /// Whole events were passed on.
    pub fn passed(&mut self, bytes: &[u8]) {
        // Only the events of responses are numbered.
        if self.dialect == Dialect::Responses {
            self.events += find_iter(bytes, b"\n\n").count();
        }
    }

    /// The event that ends it honestly.
    #[must_use]
    pub fn broken_off(&self, why: &str) -> Bytes {
        let message = format!("the answer broke off: {why}");
        let (r#type, code) = ("server_error", "stream_interrupted");
        let event = match self.dialect {
            Dialect::Chunks => {
                let error = json!({"message": message, "type": r#type, "param": null, "code": code});
                format!("data: {}\n\n", json!({"error": error}))
            }
            Dialect::Responses => {
                let number = self.events;
                let error = json!({
                    "type": "error", "sequence_number": number, "code": code, "message": message, "param": null,
                });
                format!("event: error\ndata: {error}\n\n")
            }
            Dialect::Messages => {
                let error = json!({"type": "api_error", "message": message});
                format!("event: error\ndata: {}\n\n", json!({"type": "error", "error": error}))
            }
        };
        event.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sse::{self, Event};

    #[test]
    fn every_ending_is_one_event_and_an_error() {
        for dialect in [Dialect::Chunks, Dialect::Responses, Dialect::Messages] {
            let event = Ending::of(dialect).broken_off("it \"fell\" silent");
            assert_eq!(sse::end_of_event(&event), Some(event.len()));
            let Event::Error(error) = sse::read(&event) else { panic!("{event:?}") };
            assert_eq!(
                (error.status, error.message.as_str()),
                (500, "the answer broke off: it \"fell\" silent")
            );
        }
    }

    #[test]
    fn the_ending_of_a_response_is_numbered_on() {
        let mut ending = Ending::of(Dialect::Responses);
        ending.passed(b"event: response.created\ndata: {}\n\nevent: response.in_progress\ndata: {}\n\n");
        let event = String::from_utf8(ending.broken_off("why").to_vec()).unwrap();
        assert!(event.contains("\"sequence_number\":2"), "{event}");
    }
}
