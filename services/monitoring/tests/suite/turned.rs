//! What is said to have turned is looked at now, whichever replica heard it.

use crate::{
    delivery::{alerts, create, firing},
    ledger::Ledger,
    series::{self, sent},
};
use proto::monitoring::v1::{
    AlertRule, AlertState, ListAlertsRequest, ReportSeriesRequest, reported_series::Value,
};
use tests::until;

on_both_engines!(what_another_replica_heard_turn_is_looked_at_now);

/// An engine turned.
async fn turned(ledger: &Ledger, engine: &str, up: f64) {
    let request = ReportSeriesRequest {
        instance: format!("gateway {engine}"),
        service: "inference".into(),
        series: vec![series::series("engine_up", &[("engine", engine)], Value::Gauge(up))],
        turned: true,
    };
    sent(ledger, request).await.unwrap();
}

async fn until_alert(ledger: &Ledger, engine: &str, state: AlertState) {
    until(&format!("{state:?} of {engine}"), async || {
        let request = ListAlertsRequest { page_size: 1_000, state: state.into(), ..Default::default() };
        let all = alerts(ledger).list_alerts(request).await.unwrap().into_inner().alerts;
        all.into_iter().find(|alert| alert.labels.get("engine").is_some_and(|known| known == engine))
    })
    .await;
}

/// One of the two looks at rules. Minutes are written when they are over, which is later than anybody waits here.
async fn what_another_replica_heard_turn_is_looked_at_now(ledger: &Ledger) {
    let other = ledger.replica().await;
    let expression = "min by (engine) (engine_up) == 0".to_owned();
    create(ledger, AlertRule { expression, ..firing("Engine") }).await;
    for up in [0.0, 1.0] {
        turned(ledger, "a", up).await;
        turned(&other, "b", up).await;
        let state = if up == 0.0 { AlertState::Firing } else { AlertState::Resolved };
        until_alert(ledger, "a", state).await;
        until_alert(ledger, "b", state).await;
    }
    other.end().await;
}
