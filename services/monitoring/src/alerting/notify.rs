//! Messages of other services, receivers, and whether one can be told.

use super::{
    Alerting,
    kept::EventKind,
    letter::{Content, Letter, Target},
    outbox,
};
use crate::{
    config::Receiver,
    error::{Error, Violation},
    store::alerts::history,
};
use policy::Time;
use shared::claims::Entered;
use uuid::Uuid;

impl Alerting {
    /// Puts a message into the outbox. Sent again under the same name it is the first one.
    pub(crate) async fn notify(
        &self,
        letter: &Letter,
        request: Option<Uuid>,
        now: Time,
    ) -> Result<Uuid, Error> {
        match &letter.to {
            Target::Receiver(name) if !self.receivers.has(name) => return Err(unknown(name)),
            Target::Email(_) if !self.receivers.has_mail() => {
                return Err(Violation::new(
                    "email",
                    "cannot be sent: monitoring.alerts.smtp.host is not set",
                )
                .into());
            }
            _ => {}
        }
        let name = request.map(|request| request.to_string());
        let mut tx = self.db.begin().await?;
        let entered = self.outbox.enter(&mut tx, letter, name.as_deref(), now).await?;
        tx.commit().await?;
        self.outbox.wake();
        match entered {
            Entered::Known(id) => Ok(id),
            Entered::New | Entered::Reused | Entered::Locked(_) => Err(Error::RequestReused),
        }
    }

    /// All receivers, and how many messages have not left.
    pub(crate) async fn receivers(&self) -> Result<(Vec<(&str, &Receiver)>, u64), Error> {
        Ok((self.receivers.all().collect(), self.outbox.waiting().await?))
    }

    /// Tells a receiver at once that this is a test, and says why that did not arrive.
    pub(crate) async fn test_receiver(&self, name: &str) -> Result<Result<(), String>, Error> {
        if !self.receivers.has(name) {
            return Err(unknown(name));
        }
        let subject = format!("[TEST] Tollgate can reach {name}");
        let text = format!("Somebody asked for this message. {}", self.settings.external_url);
        let letter =
            Letter { to: Target::Receiver(name.to_owned()), content: Content::Note { subject, text } };
        let sent = self.receivers.send(&letter, Uuid::now_v7()).await;
        let (kind, detail) = match &sent {
            Ok(()) => (EventKind::Notified, format!("{name}: a test")),
            Err(why) => (EventKind::NotNotified, format!("{name}: a test; {}", why.problem)),
        };
        let mut tx = self.db.begin().await?;
        for event in outbox::events(&letter, kind, &detail) {
            history::insert(&mut tx, &event).await?;
        }
        tx.commit().await?;
        Ok(sent.map_err(|why| why.problem))
    }
}

fn unknown(name: &str) -> Error {
    Violation::new("receiver", format!("must be one that is configured; `{name}` is not")).into()
}
