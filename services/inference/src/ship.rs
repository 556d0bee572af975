//! Brings ended records from the journal to monitoring, again and again until it has them.
//!
//! Monitoring knows a record by (usage_id, attempt), so sending one twice does no harm and the cursor may lag. A record
//! that monitoring will never take is set aside in the journal's folder, so that it does not hold up the others.

use crate::{
    journal::{Cursor, Journal},
    metrics,
};
use proto::monitoring::v1::{RecordUsageRequest, UsageRecord, usage_service_client::UsageServiceClient};
use shared::{
    channel::Channel,
    health::{Condition, Reporter},
    server::Tasks,
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tonic::{Code, Status};

/// Records of one call.
const BATCH: usize = 500;
/// What ends within this time after the first is shipped with it.
const GATHER: Duration = Duration::from_millis(20);
/// Between two tries when monitoring does not take them.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// How long it may take until the journal knows what was shipped. After a crash so much is shipped again.
const KEEP: Duration = Duration::from_secs(1);

/// Since when records wait that monitoring does not take. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Behind(Arc<Mutex<Option<Instant>>>);

impl Behind {
    /// Since when, if there are such.
    #[must_use]
    pub fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, behind: bool) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *since = behind.then(|| since.unwrap_or_else(Instant::now));
    }
}

/// Ships until the process ends, and at the end what is left, as far as monitoring takes it.
pub fn start(journal: Arc<Journal>, monitoring: Channel, health: Reporter, tasks: &Tasks) -> Behind {
    let stop = tasks.stopping();
    let client = UsageServiceClient::new(monitoring);
    let behind = Behind::default();
    let told = behind.clone();
    let mut shipper =
        Shipper { journal, client, health, behind: told, at: None, kept: None, keep_at: Instant::now() };
    tasks.spawn(async move {
        let mut wait = BACK_OFF.0;
        loop {
            if shipper.all().await {
                wait = BACK_OFF.0;
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = shipper.journal.until_ended() => tokio::time::sleep(GATHER).await,
                    () = tokio::time::sleep_until(shipper.keep_at), if shipper.at != shipper.kept => shipper.keep(),
                }
            } else {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(wait) => {}
                }
                wait = (wait * 2).min(BACK_OFF.1);
            }
        }
        shipper.all().await;
        shipper.keep();
        if let Err(error) = shipper.journal.sync() {
            tracing::warn!(%error, "the journal was not brought to the disk");
        }
    });
    behind
}

struct Shipper {
    journal: Arc<Journal>,
    client: UsageServiceClient<Channel>,
    health: Reporter,
    behind: Behind,
    /// Up to where it has shipped, as far as it knows.
    at: Option<Cursor>,
    /// Up to where the journal says so.
    kept: Option<Cursor>,
    /// When the journal is told next.
    keep_at: Instant,
}

impl Shipper {
    /// Ships everything there is. Returns whether monitoring has it.
    async fn all(&mut self) -> bool {
        loop {
            match self.batch().await {
                Ok(0) => {
                    self.behind.is(false);
                    return true;
                }
                Ok(records) => {
                    metrics::shipped(records as u64);
                    self.behind.is(false);
                    self.health.set(Condition::Up);
                }
                Err(error) => {
                    tracing::warn!(error, "usage records wait in the journal");
                    self.behind.is(true);
                    self.health.set(Condition::Degraded("usage records wait in the journal".into()));
                    return false;
                }
            }
        }
    }

    async fn batch(&mut self) -> Result<usize, String> {
        let text = |error: std::io::Error| {
            metrics::journal_error();
            error.to_string()
        };
        let from = match self.at {
            Some(at) => at,
            None => self.journal.shipped().map_err(text)?,
        };
        let (records, next) = self.journal.read(from, BATCH).map_err(text)?;
        let count = records.len();
        let words = |status: Status| status.message().to_owned();
        if count > 0 && self.send(records).await.map_err(words)? == Taken::No {
            for record in self.journal.read(from, count).map_err(text)?.0 {
                if self.send(vec![record.clone()]).await.map_err(words)? == Taken::No {
                    self.journal.set_aside(&record).map_err(text)?;
                }
            }
        }
        self.at = Some(next);
        if Instant::now() >= self.keep_at {
            self.keep();
        }
        Ok(count)
    }

    /// Notes in the journal how far it is.
    fn keep(&mut self) {
        self.keep_at = Instant::now() + KEEP;
        let Some(at) = self.at.filter(|_| self.at != self.kept) else { return };
        match self.journal.set_shipped(at) {
            Ok(()) => self.kept = Some(at),
            Err(error) => {
                metrics::journal_error();
                tracing::warn!(%error, "the journal does not know what was shipped, and will ship it again");
            }
        }
    }

    async fn send(&mut self, records: Vec<UsageRecord>) -> Result<Taken, Status> {
        let mut request = tonic::Request::new(RecordUsageRequest { records });
        request.set_timeout(Duration::from_secs(10));
        match self.client.record_usage(request).await {
            Ok(_) => Ok(Taken::Yes),
            Err(status) if status.code() == Code::InvalidArgument => {
                tracing::error!(message = status.message(), "monitoring refuses a usage record");
                Ok(Taken::No)
            }
            Err(status) => Err(status),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Yes,
    No,
}
