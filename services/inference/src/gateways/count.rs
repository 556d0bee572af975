//! What is measured of several gateways.

use opentelemetry::{
    KeyValue,
    metrics::{Counter, UpDownCounter},
};
use shared::telemetry::meter;
use std::sync::LazyLock;

static OWNED: LazyLock<UpDownCounter<i64>> = LazyLock::new(|| {
    let meter = meter();
    let owned = meter.i64_up_down_counter("tollgate.gateway.engines_owned").with_unit("{engine}");
    owned.with_description("Engines whose requests wait at this gateway, of several").build()
});
static FORWARDED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = meter();
    let forwarded = meter.u64_counter("tollgate.gateway.forwarded").with_unit("{request}");
    forwarded.with_description("Requests passed on to another gateway, by what came of it").build()
});

/// So many engines are its own now.
pub(super) fn owned(now: usize, before: usize) {
    let difference = i64::try_from(now).unwrap_or(0) - i64::try_from(before).unwrap_or(0);
    if difference != 0 {
        OWNED.add(difference, &[]);
    }
}

/// A request was passed on.
pub(super) fn forwarded(outcome: &'static str) {
    FORWARDED.add(1, &[KeyValue::new("outcome", outcome)]);
}
