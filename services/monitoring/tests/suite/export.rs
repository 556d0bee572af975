//! ExportUsage: the ledger as a file.

use crate::{
    ledger::Ledger,
    prices::put,
    sample::{NOON, assorted, id, record, time},
};
use policy::Role;
use proto::monitoring::v1::{ExportFormat, ExportUsageRequest, UsageRecord};
use serde_json::Value;
use tonic::Code;

on_both_engines!(
    all_records_are_in_the_file_once_and_oldest_first,
    a_csv_file_can_be_read_whatever_names_hold,
    callers_see_their_own_alone,
);

async fn export(ledger: &Ledger, role: Role, request: ExportUsageRequest) -> String {
    let mut stream = ledger.person(role).export_usage(request).await.unwrap().into_inner();
    let mut file = Vec::new();
    while let Some(piece) = stream.message().await.unwrap() {
        file.extend_from_slice(&piece.data);
    }
    String::from_utf8(file).unwrap()
}

async fn all_records_are_in_the_file_once_and_oldest_first(ledger: &Ledger) {
    put(ledger, "llama", ("0.15", "0.075", "0.60"), 0).await;
    let mut records = assorted(1_234);
    ledger.keep(&records).await;
    records.sort_by_key(|record| (record.start_time.unwrap().seconds, record.usage_id.clone()));
    let lines = ExportFormat::JsonLines.into();
    let file =
        export(ledger, Role::Auditor, ExportUsageRequest { format: lines, ..Default::default() }).await;
    let read: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&str> = read.iter().map(|line| line["usage_id"].as_str().unwrap()).collect();
    assert_eq!(ids, records.iter().map(|record| record.usage_id.as_str()).collect::<Vec<_>>());
    let of =
        |record: &UsageRecord| read.iter().find(|line| line["usage_id"] == record.usage_id.as_str()).unwrap();
    for record in ledger.audited().await {
        let line = of(&record);
        assert_eq!(line["cost_usd"].as_str(), record.cost_usd.as_deref());
        assert_eq!(line["completion_tokens"], record.completion_tokens);
    }
    let part = ExportUsageRequest {
        start_time: Some(time(NOON + 7_200)),
        model: "qwen".into(),
        format: lines,
        ..Default::default()
    };
    let wanted =
        |record: &&UsageRecord| record.model == "qwen" && record.start_time.unwrap().seconds >= NOON + 7_200;
    let file = export(ledger, Role::Auditor, part).await;
    assert_eq!(file.lines().count(), records.iter().filter(wanted).count());
}

async fn a_csv_file_can_be_read_whatever_names_hold(ledger: &Ledger) {
    let odd = UsageRecord { model: "a,\"b\";=1+1".into(), request_id: "é".into(), ..record(1) };
    ledger.keep(&[odd, record(2)]).await;
    let file = export(ledger, Role::Auditor, ExportUsageRequest::default()).await;
    let mut reader = csv::Reader::from_reader(file.as_bytes());
    let names = reader.headers().unwrap().clone();
    assert_eq!(&names[0], "usage_id");
    let column = |name: &str| names.iter().position(|column| column == name).unwrap();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!((&rows[0][column("model")], &rows[0][column("request_id")]), ("a,\"b\";=1+1", "é"));
    assert_eq!((&rows[1][column("cost_usd")], &rows[1][column("prompt_tokens")]), ("", "100"), "not known");
    assert_eq!(&rows[1][column("start_time")], "2026-05-15T12:00:00.123456Z");
}

async fn callers_see_their_own_alone(ledger: &Ledger) {
    let member = crate::ledger::person(Role::Member);
    let own = UsageRecord { user_id: member.user.to_string(), ..record(1) };
    ledger.keep(&[own.clone(), record(2)]).await;
    let format = ExportFormat::JsonLines.into();
    let file = export(ledger, Role::Member, ExportUsageRequest { format, ..Default::default() }).await;
    assert!(file.lines().count() == 1 && file.contains(&own.usage_id));
    let others = ExportUsageRequest { user_id: id(1), ..Default::default() };
    let refused = ledger.person(Role::Member).export_usage(others).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}
