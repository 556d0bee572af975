//! What is reported and asked, understood.

use super::PAGE;
use crate::{
    api::field,
    error::{Error, Violation},
    signals::{Asked, HOUR, MINUTE, Signals, Span, at},
};
use policy::Time;
use proto::monitoring::v1 as pb;
use series::{Across, At, Buckets, Labels, Matcher, Over, Query, Sample, Selector, Value};
use shared::page;
use std::{collections::HashMap, sync::Arc, time::Duration};

/// Series of one report.
const MAX_SERIES: usize = 2_000;
/// Buckets of a histogram.
const MAX_BUCKETS: usize = 200;
/// Characters of a name or of a label's value.
const MAX_TEXT: usize = 200;
/// Labels of a series that is recorded by hand, matchers, and labels that make a group.
const MAX_LABELS: usize = 16;
/// Labels of a series that is reported.
const MAX_REPORTED_LABELS: usize = 32;
/// Numbers for each group of a range, as in Prometheus.
const MAX_POINTS: i64 = 11_000;
/// How far back a number looks when nothing else is said, in seconds.
const WINDOW: i64 = 5 * MINUTE;
/// The furthest that a number may look back, in seconds.
const MAX_WINDOW: i64 = 400 * 24 * HOUR;
/// Queries of one subscription.
const MAX_QUERIES: usize = 20;
/// Labels that say where a series comes from.
const RESERVED: [&str; 2] = ["instance", "service"];

/// The samples of a report.
pub(super) fn report(request: pb::ReportSeriesRequest) -> Result<Vec<Sample>, Error> {
    let of = |field: &'static str, text: String| {
        let text = field::text(field, text, MAX_TEXT)?;
        if text.is_empty() { Err(Violation::new(field, "must not be empty")) } else { Ok(text) }
    };
    let (instance, service) = (of("instance", request.instance)?, of("service", request.service)?);
    if request.series.len() > MAX_SERIES {
        return Err(Violation::new("series", format!("must be at most {MAX_SERIES}")).into());
    }
    let read = |(index, series): (usize, pb::ReportedSeries)| {
        let own = [("instance", instance.as_str()), ("service", service.as_str())];
        reported(series, &own).map_err(|violation| violation.within(&format!("series[{index}]")))
    };
    Ok(request.series.into_iter().enumerate().map(read).collect::<Result<_, _>>()?)
}

fn reported(series: pb::ReportedSeries, own: &[(&str, &str)]) -> Result<Sample, Violation> {
    use pb::reported_series::Value as Wire;
    name("name", &series.name)?;
    let labels = labels(series.labels, MAX_REPORTED_LABELS)?;
    let labels = labels.iter().chain(own.iter().copied()).collect();
    let value = match series.value.ok_or_else(|| Violation::new("value", "must be set"))? {
        Wire::Gauge(gauge) => {
            Value::gauge(gauge).ok_or_else(|| Violation::new("gauge", "must be a number"))?
        }
        Wire::Counter(rose) => counter(rose)?,
        Wire::Histogram(buckets) => histogram(buckets)?,
    };
    Ok(Sample { name: series.name.into(), labels, value })
}

fn counter(rose: f64) -> Result<Value, Violation> {
    Value::counter(rose).ok_or_else(|| Violation::new("counter", "must be a number that is not negative"))
}

fn histogram(buckets: pb::Buckets) -> Result<Value, Violation> {
    let violation = || {
        Violation::new(
            "histogram",
            "must have rising bounds and a count more than these, none of them negative",
        )
    };
    if buckets.bounds.len() > MAX_BUCKETS {
        return Err(Violation::new("histogram.bounds", format!("must be at most {MAX_BUCKETS}")));
    }
    let counts = if buckets.counts.is_empty() { vec![0.0; buckets.bounds.len() + 1] } else { buckets.counts };
    let buckets = Buckets::new(buckets.bounds.into(), counts, buckets.sum).ok_or_else(violation)?;
    Ok(Value::Histogram(Arc::new(buckets)))
}

/// A sample that is recorded by hand.
pub(super) fn sample(request: pb::RecordSampleRequest) -> Result<Sample, Error> {
    use pb::record_sample_request::Value as Wire;
    name("name", &request.name)?;
    let labels = labels(request.labels, MAX_LABELS)?;
    if let Some(taken) = RESERVED.into_iter().find(|label| labels.get(label).is_some()) {
        return Err(Violation::new(format!("labels.{taken}"), "is a label of what services report").into());
    }
    let value = match request.value.ok_or_else(|| Violation::new("value", "must be set"))? {
        Wire::Gauge(gauge) => {
            Value::gauge(gauge).ok_or_else(|| Violation::new("gauge", "must be a number"))?
        }
        Wire::Counter(rose) => counter(rose)?,
    };
    Ok(Sample { name: request.name.into(), labels, value })
}

fn name(field: &str, name: &str) -> Result<(), Violation> {
    let first = |letter: char| letter.is_ascii_alphabetic() || matches!(letter, '_' | ':');
    let good = name.len() <= MAX_TEXT
        && name.starts_with(first)
        && name.chars().all(|letter| first(letter) || letter.is_ascii_digit());
    let problem = "must be letters, digits, `_` and `:`, at most 200, and not begin with a digit";
    if good { Ok(()) } else { Err(Violation::new(field, problem)) }
}

fn labels(given: HashMap<String, String>, max: usize) -> Result<Labels, Violation> {
    if given.len() > max {
        return Err(Violation::new("labels", format!("must be at most {max}")));
    }
    let read = |(label, value): (String, String)| {
        name("labels", &label)?;
        Ok((label.clone(), field::text(&format!("labels.{label}"), value, MAX_TEXT)?))
    };
    given.into_iter().map(read).collect()
}

/// A page of names as it is asked for.
pub(super) struct List {
    pub(super) prefix: String,
    pub(super) after: Option<String>,
    pub(super) size: usize,
}

impl List {
    pub(super) fn read(request: pb::ListMetricsRequest) -> Result<Self, Error> {
        let refused =
            |field: &'static str| move |problem: page::PageError| Violation::new(field, problem.to_string());
        let prefix = field::text("prefix", request.prefix, MAX_TEXT)?;
        let size = page::size(request.page_size, PAGE.0, PAGE.1).map_err(refused("page_size"))?;
        let after =
            page::start(&Self::filter(&prefix), &request.page_token).map_err(refused("page_token"))?;
        Ok(Self { prefix, after, size: usize::try_from(size).unwrap_or(usize::MAX) })
    }

    fn filter(prefix: &str) -> String {
        format!("metrics {prefix}")
    }

    /// The token of the page after this name.
    pub(super) fn next(&self, last: &str) -> String {
        page::token(&Self::filter(&self.prefix), last)
    }
}

/// A question for one time or a range.
pub(super) fn query(request: pb::QuerySeriesRequest, now: Time, signals: &Signals) -> Result<Asked, Error> {
    let given = request.query.ok_or_else(|| Violation::new("query", "must be set"))?;
    let (selector, query) = computed(given, signals).map_err(|violation| violation.within("query"))?;
    let start = field::optional_instant("start_time", request.start_time.as_ref())?;
    let end = field::optional_instant("end_time", request.end_time.as_ref())?;
    let step = field::duration("step", request.step.as_ref())?;
    let span = match start {
        None => Span::At(end.map(at)),
        Some(start) => range(at(start), end.map_or_else(|| signals.until(now), at), step)?,
    };
    Ok(Asked { selector, query, span })
}

fn range(start: At, end: At, step: Option<Duration>) -> Result<Span, Violation> {
    if end < start {
        return Err(Violation::new("end_time", "must not be before start_time"));
    }
    let step = match step {
        None => ((end.0 - start.0) / 100).max(10),
        Some(step) if step.subsec_nanos() == 0 && !step.is_zero() => {
            i64::try_from(step.as_secs()).unwrap_or(i64::MAX)
        }
        Some(_) => return Err(Violation::new("step", "must be whole seconds")),
    };
    let start = if start.floor(step) == start { start } else { start.next(step) };
    if (end.0 - start.0).max(-1).div_euclid(step) + 1 > MAX_POINTS {
        let problem = format!("must leave at most {MAX_POINTS} numbers between start_time and end_time");
        return Err(Violation::new("step", problem));
    }
    Ok(Span::Range { start, end, step })
}

/// Which series, and what is to be computed of them.
fn computed(given: pb::SeriesQuery, signals: &Signals) -> Result<(Selector, Query), Violation> {
    name("name", &given.name)?;
    for (field, count) in [("matchers", given.matchers.len()), ("group_by", given.group_by.len())] {
        if count > MAX_LABELS {
            return Err(Violation::new(field, format!("must be at most {MAX_LABELS}")));
        }
    }
    let matchers = given.matchers.into_iter().enumerate().map(|(index, matcher)| {
        let operator = if matcher.operator.is_empty() { "=" } else { &matcher.operator };
        let value = field::text("value", matcher.value, MAX_TEXT)
            .map_err(|violation| violation.within(&format!("matchers[{index}]")))?;
        Matcher::read(&matcher.label, operator, &value)
            .map_err(|problem| Violation::new(format!("matchers[{index}]"), problem.0))
    });
    let matchers = matchers.collect::<Result<_, _>>()?;
    let window = match field::duration("window", given.window.as_ref())? {
        None => WINDOW,
        Some(window) => i64::try_from(window.as_secs()).unwrap_or(i64::MAX),
    };
    if !(10..=MAX_WINDOW).contains(&window) {
        return Err(Violation::new("window", "must be from 10 s to 400 days"));
    }
    let over = match pb::OverTime::try_from(given.over_time) {
        Ok(pb::OverTime::Unspecified) => signals.kind(&given.name).map_or(Over::Last, Over::usual),
        Ok(pb::OverTime::Last) => Over::Last,
        Ok(pb::OverTime::Min) => Over::Min,
        Ok(pb::OverTime::Max) => Over::Max,
        Ok(pb::OverTime::Mean) => Over::Mean,
        Ok(pb::OverTime::Increase) => Over::Increase,
        Ok(pb::OverTime::Rate) => Over::Rate,
        Ok(pb::OverTime::Quantile) => Over::Quantile(0.95),
        Err(_) => return Err(Violation::new("over_time", "is not of this contract")),
    };
    let over = match over {
        Over::Quantile(_) if !(0.0..=1.0).contains(&given.quantile) => {
            return Err(Violation::new("quantile", "must be from 0 to 1"));
        }
        Over::Quantile(_) if given.quantile > 0.0 => Over::Quantile(given.quantile),
        over => over,
    };
    let across = match pb::AcrossSeries::try_from(given.across_series) {
        Ok(pb::AcrossSeries::Unspecified | pb::AcrossSeries::Sum) => Across::Sum,
        Ok(pb::AcrossSeries::Mean) => Across::Mean,
        Ok(pb::AcrossSeries::Min) => Across::Min,
        Ok(pb::AcrossSeries::Max) => Across::Max,
        Err(_) => return Err(Violation::new("across_series", "is not of this contract")),
    };
    let by = given.group_by.into_iter().map(Into::into).collect();
    Ok((Selector { name: given.name.into(), matchers }, Query { over, across, by, window }))
}

/// What is to be looked at, and how often.
pub(super) fn watch(
    request: pb::WatchMetricsRequest,
    signals: &Signals,
) -> Result<(Vec<Asked>, Duration), Error> {
    if !(1..=MAX_QUERIES).contains(&request.queries.len()) {
        return Err(Violation::new("queries", format!("must be from 1 to {MAX_QUERIES}")).into());
    }
    let every = field::duration("interval", request.interval.as_ref())?.unwrap_or(Duration::from_secs(5));
    if !(Duration::from_secs(1)..=Duration::from_secs(60)).contains(&every) {
        return Err(Violation::new("interval", "must be from 1 s to 60 s").into());
    }
    let asked = request.queries.into_iter().enumerate().map(|(index, query)| {
        let within = |violation: Violation| violation.within(&format!("queries[{index}]"));
        let (selector, query) = computed(query, signals).map_err(within)?;
        Ok(Asked { selector, query, span: Span::At(None) })
    });
    Ok((asked.collect::<Result<_, Error>>()?, every))
}

/// Which model, and how far back in seconds.
pub(super) fn summary(request: pb::GetLlmSummaryRequest) -> Result<(Option<String>, i64), Error> {
    let model = field::optional_text("model", request.model, MAX_TEXT)?;
    Ok((model, window(request.window.as_ref())?))
}

/// How far back, in seconds.
pub(super) fn window(given: Option<&prost_types::Duration>) -> Result<i64, Error> {
    let window = field::duration("window", given)?
        .map_or(WINDOW, |window| i64::try_from(window.as_secs()).unwrap_or(i64::MAX));
    if !(10..=2 * HOUR).contains(&window) {
        return Err(Violation::new("window", "must be from 10 s to 2 hours").into());
    }
    Ok(window)
}
