//! Who may call what, and whose usage they see.

use crate::{
    ledger::{Ledger, person},
    sample::{id, record},
};
use policy::Role;
use proto::monitoring::v1::{
    GetUsageRequest, ListUsageRecordsRequest, RecordUsageRequest, UsageDimension, UsageRecord,
};
use shared::security::Kind;
use std::collections::HashSet;
use tonic::{Code, Status};
use tonic_types::StatusExt;

const SEE_ALL: [Role; 3] = [Role::Owner, Role::Admin, Role::Auditor];

on_both_engines!(
    owners_admins_and_auditors_see_everybody,
    all_others_see_their_own_alone,
    only_services_record,
    who_is_not_known_is_refused,
    whoever_is_turned_away_is_an_incident,
);

/// Two records of every person, and one of somebody else.
async fn fill(ledger: &Ledger) {
    let of = |number, role| UsageRecord {
        user_id: person(role).user.to_string(),
        key_id: person(role).key.unwrap().to_string(),
        ..record(number)
    };
    let mut records = vec![UsageRecord { user_id: id(1), ..record(100) }];
    for (number, role) in (0..).zip(Role::ALL.iter().copied()) {
        records.extend([of(number, role), of(number + 50, role)]);
    }
    ledger.keep(&records).await;
}

async fn owners_admins_and_auditors_see_everybody(ledger: &Ledger) {
    fill(ledger).await;
    let everything = 2 * Role::ALL.len() + 1;
    for role in SEE_ALL {
        let mut client = ledger.person(role);
        let rows = client.get_usage(GetUsageRequest::default()).await.unwrap().into_inner().rows;
        assert_eq!(rows[0].requests, everything as u64, "{role:?}");
        let list = client.list_usage_records(ListUsageRecordsRequest::default()).await.unwrap().into_inner();
        assert_eq!(list.records.len(), everything, "{role:?}");
        let other = ListUsageRecordsRequest { user_id: id(1), ..ListUsageRecordsRequest::default() };
        let list = client.list_usage_records(other).await.unwrap().into_inner();
        assert_eq!(list.records.len(), 1, "{role:?}");
    }
}

async fn all_others_see_their_own_alone(ledger: &Ledger) {
    fill(ledger).await;
    for role in Role::ALL.iter().copied().filter(|role| !SEE_ALL.contains(role)) {
        let mut client = ledger.person(role);
        let own = person(role).user.to_string();
        for user_id in [String::new(), own.clone()] {
            let request = GetUsageRequest {
                user_id: user_id.clone(),
                group_by: vec![UsageDimension::User.into()],
                ..GetUsageRequest::default()
            };
            let rows = client.get_usage(request).await.unwrap().into_inner().rows;
            assert_eq!((rows.len(), rows[0].user_id.as_str(), rows[0].requests), (1, own.as_str(), 2));
            let request = ListUsageRecordsRequest { user_id, ..ListUsageRecordsRequest::default() };
            let list = client.list_usage_records(request).await.unwrap().into_inner();
            assert_eq!(list.records.len(), 2);
            assert!(list.records.iter().all(|record| record.user_id == own));
        }
        let theirs = GetUsageRequest { user_id: id(1), ..GetUsageRequest::default() };
        refused(&client.get_usage(theirs).await.unwrap_err(), Code::PermissionDenied, "USAGE_OF_OTHERS");
        let theirs = ListUsageRecordsRequest { user_id: id(1), ..ListUsageRecordsRequest::default() };
        let status = client.list_usage_records(theirs).await.unwrap_err();
        refused(&status, Code::PermissionDenied, "USAGE_OF_OTHERS");
        // By somebody else's key, usage id or request id there is nothing to see either.
        let key_id = person(Role::Owner).key.unwrap().to_string();
        let rows = client.get_usage(GetUsageRequest { key_id, ..GetUsageRequest::default() }).await.unwrap();
        assert_eq!(rows.into_inner().rows, []);
        let usage_id = record(100).usage_id;
        let request = ListUsageRecordsRequest { usage_id, ..ListUsageRecordsRequest::default() };
        assert_eq!(client.list_usage_records(request).await.unwrap().into_inner().records, []);
    }
}

async fn only_services_record(ledger: &Ledger) {
    for role in Role::ALL.iter().copied() {
        let request = RecordUsageRequest { records: vec![record(1)] };
        let status = ledger.person(role).record_usage(request).await.unwrap_err();
        refused(&status, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
    }
    assert_eq!(ledger.audited().await, []);
    ledger.keep(&[record(1)]).await;
}

async fn who_is_not_known_is_refused(ledger: &Ledger) {
    let request = GetUsageRequest::default;
    let status = ledger.nobody().get_usage(request()).await.unwrap_err();
    refused(&status, Code::Unauthenticated, "CREDENTIAL_MISSING");
    for (token, reason) in [("nonsense", "KEY_UNKNOWN"), ("tgs_of-another-house", "SERVICE_TOKEN_WRONG")] {
        let status = ledger.bearer(token).get_usage(request()).await.unwrap_err();
        refused(&status, Code::Unauthenticated, reason);
    }
}

async fn whoever_is_turned_away_is_an_incident(ledger: &Ledger) {
    ledger.person(Role::Owner).get_usage(GetUsageRequest::default()).await.unwrap();
    ledger.bearer("nonsense").get_usage(GetUsageRequest::default()).await.unwrap_err();
    ledger.person(Role::Member).record_usage(RecordUsageRequest::default()).await.unwrap_err();
    let mut batch = ledger.watch.take();
    batch.incidents.sort_by_key(|seen| seen.incident.kind);
    let service = "/tollgate.monitoring.v1.UsageService";
    let facts = batch.incidents.iter().map(|seen| {
        let incident = &seen.incident;
        (incident.kind, incident.actor.clone(), incident.method.clone(), seen.count)
    });
    let member = person(Role::Member).user.to_string();
    let expected = [
        (Kind::CredentialRefused, String::new(), format!("{service}/GetUsage"), 1),
        (Kind::CallRefused, member, format!("{service}/RecordUsage"), 1),
    ];
    assert_eq!(facts.collect::<Vec<_>>(), expected);
    let used = batch.uses.iter().map(|used| Some(used.key)).collect::<HashSet<_>>();
    assert_eq!(used, HashSet::from([person(Role::Owner).key, person(Role::Member).key]));
}

fn refused(status: &Status, code: Code, reason: &str) {
    assert_eq!(status.code(), code, "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().reason, reason);
}
