//! Instances that have nothing to do for long are ended, or it is only said that they would be.

use crate::{Config, life::Order, observe::Seen};
use scaling::{Cause, Idleness};
use shared::{server::Tasks, time};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Watches from now on until the process ends, where that is switched on.
pub(crate) fn start(
    config: &Config,
    mut seen: watch::Receiver<Seen>,
    orders: &mpsc::Sender<Order>,
    tasks: &Tasks,
) {
    let Some(after) = config.idle.after else { return };
    let (dry_run, stop, orders) = (config.idle.dry_run, tasks.stopping(), orders.clone());
    tasks.spawn(async move {
        let mut idleness = Idleness::default();
        let mut said = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = seen.changed() => if changed.is_err() { return },
            }
            let work = seen.borrow_and_update().work();
            let now = Duration::from_micros(u64::try_from(time::now().0).unwrap_or(0));
            let idle = idleness.saw(work, now);
            if idle < after {
                said = false;
                continue;
            }
            let minutes = idle.as_secs() / 60;
            if !dry_run {
                let detail = format!("nothing to do for {minutes} minutes");
                let order = Order { cause: Cause::Idle, detail, limit: None, notice: None };
                // Nobody is left to be ordered when the process has ended.
                let _ = orders.send(order).await;
                idleness = Idleness::default();
            } else if !said {
                tracing::info!(
                    minutes,
                    "dry run: nothing to do for long, this instance would be drained and stopped"
                );
                said = true;
            }
        }
    });
}
