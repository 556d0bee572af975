//! How models were served of late, from what gateways and engines measure.

use crate::signals::Signals;
use policy::Time;
use series::{Across, Labels, Matcher, Over, Query, Selector};
use std::collections::BTreeSet;

/// The label that names a model.
const MODEL: &str = "gen_ai_request_model";
/// Below these shares of the requests lie the times that are shown.
pub(super) const SHARES: [f64; 4] = [0.5, 0.9, 0.95, 0.99];

/// The times below which half, 90, 95 and 99 of 100 requests lie, in seconds.
pub(crate) type Times = [Option<f64>; 4];

/// How one model was served. What was not measured is `None`.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) first_token: Times,
    pub(crate) per_token: Times,
    pub(crate) end_to_end: Times,
    pub(crate) queued: Times,
    pub(crate) requests_per_second: Option<f64>,
    pub(crate) tokens_per_second: Option<f64>,
    pub(crate) goodput_per_second: Option<f64>,
    pub(crate) attainment: Option<f64>,
    pub(crate) error_share: Option<f64>,
    pub(crate) waiting: Option<f64>,
}

/// What concerns all models.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    pub(crate) kv_cache_usage: Option<f64>,
    pub(crate) prefix_hit_share: Option<f64>,
    pub(crate) cache_hit_share: Option<f64>,
}

/// Looks at the last `window` seconds.
struct Eye<'a> {
    signals: &'a Signals,
    window: i64,
    now: Time,
}

/// How models were served in the last `window` seconds, by name; one alone when it is named.
pub(crate) fn summaries(
    signals: &Signals,
    model: Option<&str>,
    window: i64,
    now: Time,
) -> (Vec<Model>, Fleet) {
    let eye = Eye { signals, window, now };
    let seen = [
        "gen_ai_server_request_duration_seconds",
        "tollgate_queue_requests",
        "tollgate_goodput_requests_total",
    ];
    let names: BTreeSet<String> = match model {
        Some(model) => BTreeSet::from([model.to_owned()]),
        None => seen.iter().flat_map(|name| eye.models(name)).collect(),
    };
    (names.iter().map(|name| eye.model(name)).collect(), eye.fleet())
}

impl Eye<'_> {
    fn models(&self, name: &str) -> Vec<String> {
        let series = self.signals.recent(&Selector::named(name), self.now, self.window);
        series.iter().filter_map(|series| series.labels.get(MODEL).map(str::to_owned)).collect()
    }

    fn one(&self, selector: &Selector, over: Over, across: Across) -> Option<f64> {
        let series = self.signals.recent(selector, self.now, self.window);
        let query = Query { over, across, by: Vec::new(), window: self.window };
        // What is of another kind than it should be says nothing.
        let answers: Vec<(Labels, Option<f64>)> = query.at(&series, self.signals.until(self.now)).ok()?;
        answers.into_iter().next()?.1
    }

    fn times(&self, selector: &Selector) -> Times {
        SHARES.map(|share| self.one(selector, Over::Quantile(share), Across::Sum))
    }

    fn model(&self, name: &str) -> Model {
        let of = |metric: &str| Selector::named(metric).and(Matcher::is(MODEL, name));
        let rate = |selector: &Selector| self.one(selector, Over::Rate, Across::Sum);
        let ended = of("gen_ai_server_request_duration_seconds");
        let well = ended.clone().and(Matcher::is("error_type", ""));
        let goodput = of("tollgate_goodput_requests_total");
        let rose = |selector: &Selector| self.one(selector, Over::Increase, Across::Sum);
        let of_end = |end: &str| goodput.clone().and(Matcher::is("tollgate_end", end));
        let end = |end: &str| rose(&of_end(end));
        let (offered, met) = (rose(&goodput), end("met"));
        let aside = end("left").unwrap_or(0.0) + end("invalid").unwrap_or(0.0);
        let queued = Selector::named("tollgate_queue_requests").and(Matcher::is(MODEL, name));
        let requests = rose(&ended);
        Model {
            name: name.to_owned(),
            first_token: self.times(&of("gen_ai_server_time_to_first_token_seconds")),
            per_token: self.times(&of("gen_ai_server_time_per_output_token_seconds")),
            end_to_end: self.times(&ended),
            queued: self.times(&of("tollgate_queue_duration_seconds")),
            requests_per_second: rate(&ended),
            tokens_per_second: rate(
                &of("tollgate_goodput_tokens_total").and(Matcher::is("tollgate_tokens", "decode")),
            ),
            goodput_per_second: rate(&of_end("met")),
            attainment: share(met, offered.map(|offered| offered - aside)),
            error_share: share(requests.map(|all| all - rose(&well).unwrap_or(0.0)), requests),
            waiting: self.one(&queued, Over::Last, Across::Sum),
        }
    }

    fn fleet(&self) -> Fleet {
        let cache = Selector::named("tollgate_cache_requests_total");
        let rose = |found: &str| {
            let selector = cache.clone().and(Matcher::is("found", found));
            self.one(&selector, Over::Increase, Across::Sum)
        };
        let missed = rose("missed");
        let all = self.one(&cache, Over::Increase, Across::Sum);
        let gauge = |name: &str, across| self.one(&Selector::named(name), Over::Last, across);
        Fleet {
            kv_cache_usage: gauge("tollgate_engine_kv_cache_usage", Across::Max),
            prefix_hit_share: gauge("tollgate_engine_prefix_cache_hit_rate", Across::Mean),
            cache_hit_share: share(all.zip(missed).map(|(all, missed)| all - missed), all),
        }
    }
}

/// A part of a whole that is not nothing.
fn share(part: Option<f64>, whole: Option<f64>) -> Option<f64> {
    let (part, whole) = (part?, whole?);
    (whole > 0.0).then(|| (part / whole).clamp(0.0, 1.0))
}
