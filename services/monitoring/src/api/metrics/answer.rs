//! What was found, as the contract says it.

use super::read::List;
use crate::signals::{
    self, Found, Named,
    calls::Calls,
    llm::{Fleet, Model, Times},
    scalability::Concurrency,
    score::{Grade, Load, Score},
    system::{Level, Reading},
    watch::Look,
};
use proto::monitoring::v1 as pb;
use series::{Answer, At, Kind};
use shared::time;
use std::time::Duration;

/// A page of names, of which one more was read than fits.
pub(super) fn list(mut names: Vec<Named>, asked: &List) -> pb::ListMetricsResponse {
    let more = names.len() > asked.size;
    names.truncate(asked.size);
    let next = names.last().filter(|_| more).map(|last| asked.next(&last.name));
    let metric = |named: Named| pb::Metric {
        name: named.name,
        kind: kind(named.kind).into(),
        series: u32::try_from(named.series).unwrap_or(u32::MAX),
        label_names: named.labels.into_iter().collect(),
    };
    pb::ListMetricsResponse {
        metrics: names.into_iter().map(metric).collect(),
        next_page_token: next.unwrap_or_default(),
    }
}

const fn kind(kind: Kind) -> pb::MetricKind {
    match kind {
        Kind::Gauge => pb::MetricKind::Gauge,
        Kind::Counter => pb::MetricKind::Counter,
        Kind::Histogram => pb::MetricKind::Histogram,
    }
}

pub(super) fn found(found: Found) -> pb::QuerySeriesResponse {
    let resolution = Duration::from_secs(found.resolution.unsigned_abs());
    pb::QuerySeriesResponse {
        series: found.answers.into_iter().map(|answer| series(answer, &found.times)).collect(),
        resolution: Some(time::duration_to_proto(resolution)),
    }
}

fn series(answer: Answer, times: &[At]) -> pb::SeriesAnswer {
    let points = times.iter().zip(answer.values).filter_map(|(at, value)| {
        Some(pb::SeriesPoint { time: Some(time::to_proto(signals::time(*at))), value: value? })
    });
    let labels = answer.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    pb::SeriesAnswer { labels: labels.collect(), points: points.collect() }
}

pub(super) fn look(look: Look) -> pb::WatchMetricsResponse {
    let answer = |(query, found): (u32, Found)| pb::WatchedAnswer {
        query,
        series: found.answers.into_iter().map(|answer| series(answer, &found.times)).collect(),
    };
    pb::WatchMetricsResponse {
        time: Some(time::to_proto(look.time)),
        dropped: look.dropped,
        answers: (0..).zip(look.found).map(answer).collect(),
    }
}

pub(super) fn summaries((models, fleet): (Vec<Model>, Fleet)) -> pb::GetLlmSummaryResponse {
    pb::GetLlmSummaryResponse {
        models: models.into_iter().map(summary).collect(),
        kv_cache_usage: fleet.kv_cache_usage,
        prefix_hit_share: fleet.prefix_hit_share,
        cache_hit_share: fleet.cache_hit_share,
    }
}

fn summary(model: Model) -> pb::LlmSummary {
    pb::LlmSummary {
        model: model.name,
        first_token: Some(times(model.first_token)),
        per_token: Some(times(model.per_token)),
        end_to_end: Some(times(model.end_to_end)),
        queued: Some(times(model.queued)),
        requests_per_second: model.requests_per_second,
        tokens_per_second: model.tokens_per_second,
        goodput_per_second: model.goodput_per_second,
        attainment: model.attainment,
        error_share: model.error_share,
        waiting: model.waiting,
    }
}

const fn times([p50, p90, p95, p99]: Times) -> pb::Percentiles {
    pb::Percentiles { p50, p90, p95, p99 }
}

pub(super) fn system(readings: Vec<Reading>) -> pb::GetSystemResponse {
    let reading = |reading: Reading| pb::SystemReading {
        instance: reading.instance,
        service: reading.service,
        cpu_used: reading.cpu,
        memory_used: reading.memory,
        memory_bytes: reading.memory_bytes,
        disk_used: reading.disk,
        network_received_bytes: reading.received,
        network_sent_bytes: reading.sent,
        connections: reading.connections,
        load1: reading.load,
        level: level(reading.level).into(),
    };
    pb::GetSystemResponse { readings: readings.into_iter().map(reading).collect() }
}

const fn level(level: Level) -> pb::ThresholdLevel {
    match level {
        Level::Normal => pb::ThresholdLevel::Normal,
        Level::Warning => pb::ThresholdLevel::Warning,
        Level::Critical => pb::ThresholdLevel::Critical,
    }
}

pub(super) fn calls(all: Vec<Calls>) -> pb::GetCallSummaryResponse {
    let summary = |calls: Calls| pb::CallSummary {
        name: calls.name,
        calls_per_second: calls.per_second,
        error_share: calls.failed_share,
        duration: Some(times(calls.duration)),
    };
    pb::GetCallSummaryResponse { calls: all.into_iter().map(summary).collect() }
}

pub(super) fn scalability(load: Load) -> pb::GetScalabilityResponse {
    let score = Score::of(load);
    // None of these is more than a hundred.
    let small = |number: u64| u32::try_from(number).ok();
    pb::GetScalabilityResponse {
        score: small(score.value()),
        grade: grade(score.grade()).into(),
        active_sessions: load.sessions,
        machines: load.machines.map_or(pb::ThresholdLevel::Unspecified, level).into(),
        open_jobs: load.jobs,
        off_for_sessions: small(score.sessions),
        off_for_machines: small(score.machines),
        off_for_jobs: small(score.jobs),
    }
}

const fn grade(grade: Grade) -> pb::ScalabilityGrade {
    match grade {
        Grade::Poor => pb::ScalabilityGrade::Poor,
        Grade::Moderate => pb::ScalabilityGrade::Moderate,
        Grade::Good => pb::ScalabilityGrade::Good,
        Grade::Excellent => pb::ScalabilityGrade::Excellent,
    }
}

pub(super) fn concurrency(found: Concurrency) -> pb::GetConcurrencyResponse {
    let sum = |of: fn(&pb::EngineConcurrency) -> Option<f64>, engines: &[pb::EngineConcurrency]| {
        engines.iter().filter_map(of).reduce(|sum, more| sum + more)
    };
    let engines: Vec<pb::EngineConcurrency> = found
        .engines
        .into_iter()
        .map(|holds| pb::EngineConcurrency {
            engine: holds.engine,
            in_flight: holds.in_flight,
            limit: holds.limit,
        })
        .collect();
    let waiting = |(class, waiting)| pb::ClassQueue { class, waiting };
    pb::GetConcurrencyResponse {
        in_flight: sum(|engine| engine.in_flight, &engines),
        limit: sum(|engine| engine.limit, &engines),
        engines,
        queue: found.waiting.into_iter().map(waiting).collect(),
    }
}
