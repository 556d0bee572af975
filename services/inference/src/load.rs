//! Tells monitoring how many requests wait here, and how long others waited for their first token: what pools are scaled
//! by. The latest word counts, so one that is lost is not said again.

use crate::{
    goodput::{Goodput, Time, WINDOWS},
    queue::Queue,
};
use proto::monitoring::v1::{ModelLoad, ReportLoadRequest, scaling_service_client::ScalingServiceClient};
use schedule::Class;
use shared::{channel::Channel, server::Tasks, time};
use std::{collections::BTreeMap, time::Duration};

/// Between two words.
const EVERY: Duration = Duration::from_secs(10);
/// Longest time for one.
const LIMIT: Duration = Duration::from_secs(3);
/// Models of one word.
const MODELS: usize = 1_000;

/// Tells from now on until the process ends.
pub fn start(queue: &Queue, goodput: &Goodput, gateway: &str, monitoring: Channel, tasks: &Tasks) {
    let (queue, goodput, gateway) = (queue.clone(), goodput.clone(), gateway.to_owned());
    let client = ScalingServiceClient::new(monitoring);
    tasks.repeat(EVERY, move || {
        let (mut client, models) = (client.clone(), loads(&queue, &goodput));
        let mut request = tonic::Request::new(ReportLoadRequest { gateway: gateway.clone(), models });
        request.set_timeout(LIMIT);
        async move {
            if let Err(status) = client.report_load(request).await {
                tracing::debug!(%status, "monitoring does not know what waits here");
            }
        }
    });
}

/// What waits for each model, and the 95th percentile of the time to the first token in the last minute: of the class
/// where it is longest, those that nobody waits for left out.
fn loads(queue: &Queue, goodput: &Goodput) -> Vec<ModelLoad> {
    let mut first_tokens: BTreeMap<String, Duration> = BTreeMap::new();
    for (model, class, window) in goodput.within(WINDOWS[0], None) {
        let Some(first) = window.quantile(Time::FirstToken, 0.95).filter(|_| class != Class::Batch) else {
            continue;
        };
        let longest = first_tokens.entry(model).or_default();
        *longest = (*longest).max(first);
    }
    let lengths = queue.lengths().into_iter().take(MODELS);
    lengths
        .map(|(model, waiting)| ModelLoad {
            first_token_p95: first_tokens.get(&model).copied().map(time::duration_to_proto),
            queue_length: u32::try_from(waiting.iter().sum::<usize>()).unwrap_or(u32::MAX),
            model,
        })
        .collect()
}
