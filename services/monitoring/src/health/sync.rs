//! Keeping what was heard in the database, and reading there what other replicas heard.

use super::{Board, FORGOTTEN};
use crate::{
    instances::{self, Filter},
    moment::micros,
    store::{self, health as rows},
};
use policy::Time;
use shared::{server::Tasks, time};
use std::time::Duration;

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(2);
/// Each round reads what was said since a little before the one before, for clocks that differ.
const OVERLAP: Duration = Duration::from_secs(10);
/// Instances that are looked at.
const INSTANCES: u32 = 1_000;

/// Keeps up from now on until the process ends.
pub(super) fn start(board: &Board, tasks: &Tasks) {
    let board = board.clone();
    let mut read_until = None;
    tasks.repeat(EVERY, move || {
        let (board, now) = (board.clone(), time::now());
        let from =
            read_until.replace(now).map_or_else(|| before(now, FORGOTTEN), |until| before(until, OVERLAP));
        async move {
            board.forget(before(now, FORGOTTEN));
            if let Err(error) = board.sync(from, now).await {
                tracing::debug!(%error, "what processes said is not exchanged with other replicas for now");
            }
        }
    });
}

fn before(now: Time, span: Duration) -> Time {
    Time(now.0.saturating_sub(micros(span)))
}

impl Board {
    async fn sync(&self, from: Time, now: Time) -> Result<(), crate::error::Error> {
        let db = &self.0.db;
        let exchange = async {
            let unwritten = {
                let state = self.state();
                let told = state.unwritten.iter().filter_map(|instance| state.told.get(instance));
                told.cloned().collect::<Vec<_>>()
            };
            for told in &unwritten {
                rows::keep(db, told).await?;
                self.state().written(&told.instance, told.at);
            }
            rows::forget(db, before(now, FORGOTTEN)).await?;
            rows::since(db, from).await
        };
        let heard = store::timed(db, "exchange_health", exchange).await?;
        let mut news = false;
        {
            let mut state = self.state();
            for told in heard {
                let newer = state.told.get(&told.instance).is_none_or(|known| known.at < told.at);
                if newer {
                    state.told.insert(told.instance.clone(), told);
                    news = true;
                }
            }
        }
        if news {
            self.0.news.send_replace(());
        }
        let (instances, _) = instances::list(db, &Filter::default(), INSTANCES, "").await?;
        self.state().instances = instances;
        Ok(())
    }

    fn forget(&self, before: Time) {
        let mut state = self.state();
        state.told.retain(|_, told| told.at >= before);
        let super::State { told, unwritten, .. } = &mut *state;
        unwritten.retain(|instance| told.contains_key(instance));
    }
}

impl super::State {
    /// The database has what was said then.
    fn written(&mut self, instance: &str, at: Time) {
        if self.told.get(instance).is_none_or(|told| told.at == at) {
            self.unwritten.remove(instance);
        }
    }
}
