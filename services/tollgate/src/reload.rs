//! Takes over what changes in the configuration while the process runs: engines, the queue, limits and who stands in
//! for whom.
//!
//! The file is read every few seconds instead of being watched, as certificates are: mounted files change by other ways
//! than those that the system tells of; SIGHUP reads it at once. What cannot be used is said once, and what was good
//! before stays.

use crate::config::{Config, Options};
use shared::{config::Faults, server::Tasks};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Between two looks at the file.
const EVERY: Duration = Duration::from_secs(5);

/// Hands over the configuration whenever its file says something else, until the process ends.
pub(crate) fn watch(options: &Options, tasks: &Tasks, take: impl Fn(&Config) + Send + 'static) {
    let Some(file) = options.file() else { return };
    let (options, stop) = (options.clone(), tasks.stopping());
    tasks.spawn(async move {
        let mut hangup = signal(SignalKind::hangup()).ok();
        let mut last = tokio::fs::read(&file).await.ok();
        loop {
            let called = async {
                match hangup.as_mut() {
                    Some(hangup) => drop(hangup.recv().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = called => {}
                () = tokio::time::sleep(EVERY) => {}
            }
            let text = tokio::fs::read(&file).await.ok();
            if text == last {
                continue;
            }
            last = text;
            match options.load() {
                Ok(loaded) => {
                    tracing::info!("the configuration has changed: engines, queue, fallbacks and limits are taken over");
                    take(&loaded.config);
                }
                Err(Faults(faults)) => {
                    tracing::error!(
                        "{}. The configuration of before stays in use; correct the file, no restart is needed",
                        faults.join("; ")
                    );
                }
            }
        }
    });
}
