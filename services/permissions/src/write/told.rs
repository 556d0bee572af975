//! Changes that touch no row: they are only noted.

use super::{Origin, Record, Thing, Writer};
use shared::event::{self, Change, serve};
use tonic::Status;

impl serve::Record for Writer {
    async fn record(&self, origin: event::Origin, changes: Vec<Change>) -> Result<(), Status> {
        let noted = self.make(Origin::told(origin), async |write| {
            for Change { kind, id, action, before, after } in changes {
                write.record(Record { thing: Thing { kind, id }, action, before, after, change: None });
            }
            Ok(())
        });
        Ok(noted.await.map(drop)?)
    }
}
