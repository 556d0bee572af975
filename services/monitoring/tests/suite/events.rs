//! What is changed through the service is in its log, in the transaction that changed it.

use crate::ledger::Ledger;
use policy::{KeyId, Revision, Role, Time};
use proto::common::v1::{
    self as pb, event_service_client::EventServiceClient, log_service_client::LogServiceClient,
};
use serde_json::json;
use shared::event::{
    Change, Link, Origin,
    log::{self, Filter, Place},
};
use std::collections::BTreeSet;
use tonic::Code;
use tonic_types::StatusExt;
use uuid::Uuid;

fn origin(actor: &str, request: &str, seconds: i64) -> Origin {
    Origin {
        at: Time(seconds * 1_000_000),
        actor: actor.to_owned(),
        key: Some(KeyId(Uuid::from_u128(7))),
        request_id: request.to_owned(),
        reason: "because".to_owned(),
    }
}

/// Three transactions: a budget is made, changed together with a silence, and deleted.
async fn three(ledger: &Ledger) {
    let (first, second) = (json!({ "limit": 10 }), json!({ "limit": 20 }));
    let made = vec![Change::created("budget", "b", first.clone())];
    let changed = vec![
        Change::updated("budget", "b", first, second.clone()),
        Change::created("silence", "s", json!({ "of": "ana" })),
    ];
    let gone = vec![Change::deleted("budget", "b", second).called("closed")];
    for (number, changes) in (1..).zip([made, changed, gone]) {
        let origin = origin(&format!("actor-{number}"), &format!("request-{number}"), number);
        let revision = log::append_alone(&ledger.db, &origin, changes).await.unwrap();
        assert_eq!(revision, Revision(u64::try_from(number).unwrap()));
    }
}

async fn places(ledger: &Ledger, filter: Filter, newest_first: bool) -> Vec<(u64, u32)> {
    let mut all = Vec::new();
    let mut beyond = None;
    loop {
        let page = log::list(&ledger.db, &filter, beyond, newest_first, 2).await.unwrap();
        let Some(last) = page.last() else { return all };
        beyond = Some(last.place());
        all.extend(page.iter().map(|stored| (stored.event.revision.get(), stored.event.ordinal)));
    }
}

async fn events_come_back_as_they_were_appended_and_are_bound_to_each_other(ledger: &Ledger) {
    three(ledger).await;
    let all = log::list(&ledger.db, &Filter::default(), None, false, 100).await.unwrap();
    let mut link = Link::FIRST;
    for stored in &all {
        link = link.then(&stored.event);
        assert_eq!(stored.link, link, "{:?}", stored.place());
    }
    assert_eq!(log::head(&ledger.db).await.unwrap().link, link);
    let changed = &all[1].event;
    assert_eq!((changed.actor.as_str(), changed.reason.as_str()), ("actor-2", "because"));
    assert_eq!(changed.key, Some(Uuid::from_u128(7).to_string()));
    assert_eq!(
        (changed.before.clone(), changed.after.clone()),
        (Some(json!({ "limit": 10 })), Some(json!({ "limit": 20 })))
    );
    assert_eq!((all[3].event.action.as_str(), &all[3].event.after), ("closed", &None));
}

async fn each_condition_of_a_filter_chooses_and_pages_do_not_overlap(ledger: &Ledger) {
    three(ledger).await;
    let nothing = Filter::default;
    let all = [(1, 0), (2, 0), (2, 1), (3, 0)];
    assert_eq!(places(ledger, nothing(), false).await, all);
    assert_eq!(places(ledger, nothing(), true).await, all.into_iter().rev().collect::<Vec<_>>());
    let second = || Some(Time(2_000_000));
    let chosen: [(Filter, &[(u64, u32)]); 9] = [
        (Filter { start: second(), ..nothing() }, &all[1..]),
        (Filter { end: second(), ..nothing() }, &all[..1]),
        (Filter { actor: Some("actor-2".into()), ..nothing() }, &all[1..3]),
        (Filter { kind: Some("silence".into()), ..nothing() }, &all[2..3]),
        (
            Filter { kind: Some("budget".into()), id: Some("b".into()), ..nothing() },
            &[(1, 0), (2, 0), (3, 0)],
        ),
        (Filter { action: Some("created".into()), ..nothing() }, &[(1, 0), (2, 1)]),
        (Filter { request: Some("request-3".into()), ..nothing() }, &all[3..]),
        (Filter { from: Some(Revision(3)), ..nothing() }, &all[3..]),
        (Filter { to: Some(Revision(1)), ..nothing() }, &all[..1]),
    ];
    for (filter, expected) in chosen {
        assert_eq!(places(ledger, filter.clone(), false).await, expected, "{filter:?}");
    }
}

async fn what_was_rolled_back_leaves_no_event_and_no_gap(ledger: &Ledger) {
    let change = || vec![Change::created("budget", "b", json!({}))];
    let mut tx = ledger.db.begin().await.unwrap();
    log::append(&mut tx, &origin("a", "r", 1), change()).await.unwrap();
    drop(tx);
    let before = log::head(&ledger.db).await.unwrap();
    assert_eq!((before.revision, before.link), (Revision(0), Link::FIRST));
    assert_eq!(log::append_alone(&ledger.db, &origin("a", "r", 1), vec![]).await.unwrap(), Revision(0));
    assert_eq!(log::append_alone(&ledger.db, &origin("a", "r", 1), change()).await.unwrap(), Revision(1));
}

async fn writers_at_once_take_turns_and_the_chain_has_no_branch(ledger: &Ledger) {
    const WRITERS: u64 = 12;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..WRITERS {
        let db = ledger.db.clone();
        writers.spawn(async move {
            let changes = (0..3).map(|thing| Change::created("thing", thing.to_string(), json!(number)));
            log::append_alone(&db, &origin("a", &number.to_string(), 1), changes.collect()).await
        });
    }
    let revisions: BTreeSet<u64> =
        writers.join_all().await.into_iter().map(|revision| revision.unwrap().get()).collect();
    assert_eq!(revisions, (1..=WRITERS).collect());
    let all = log::list(&ledger.db, &Filter::default(), None, false, 100).await.unwrap();
    assert_eq!(all.len() as u64, 3 * WRITERS);
    let end = all.iter().fold(Link::FIRST, |link, stored| link.then(&stored.event));
    assert_eq!(end, log::head(&ledger.db).await.unwrap().link);
    let at = Place { revision: Revision(WRITERS), ordinal: 2 };
    assert_eq!(all.last().unwrap().place(), at);
}

async fn readers_of_the_log_page_through_it_and_nobody_else_may(ledger: &Ledger) {
    three(ledger).await;
    let list = async |role, request: pb::ListEventsRequest| {
        let answer = EventServiceClient::new(ledger.as_person(role)).list_events(request).await;
        answer.map(tonic::Response::into_inner)
    };
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListEventsRequest { page_size: 3, page_token, ..Default::default() };
        let page = list(Role::Auditor, request).await.unwrap();
        all.extend(page.events.iter().map(|event| (event.revision, event.ordinal)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(all, [(3, 0), (2, 1), (2, 0), (1, 0)]);
    let after = Some(pb::EventPlace { revision: 2, ordinal: 0 });
    let oldest = pb::ListEventsRequest { oldest_first: true, after, ..Default::default() };
    let rest = list(Role::Owner, oldest.clone()).await.unwrap();
    assert_eq!((rest.events.len(), rest.next_page_token.as_str()), (2, ""));
    let event = &rest.events[0];
    assert_eq!(
        (event.service.as_str(), event.kind.as_str(), event.link.len()),
        ("monitoring", "silence", 64)
    );
    for role in [Role::Operator, Role::Developer, Role::Member] {
        assert_eq!(list(role, oldest.clone()).await.unwrap_err().code(), Code::PermissionDenied);
    }
    let filtered = |filter| pb::ListEventsRequest { filter: Some(filter), ..Default::default() };
    let bad = [
        (filtered(pb::EventFilter { id: "b".into(), ..Default::default() }), "filter.kind"),
        (filtered(pb::EventFilter { actor: "x".repeat(201), ..Default::default() }), "filter.actor"),
        (filtered(pb::EventFilter { action: "a\0".into(), ..Default::default() }), "filter.action"),
        (pb::ListEventsRequest { page_size: 1_001, ..Default::default() }, "page_size"),
        (pb::ListEventsRequest { page_token: "none".into(), ..Default::default() }, "page_token"),
        (pb::ListEventsRequest { page_token: "x".into(), ..oldest }, "after"),
    ];
    for (request, field) in bad {
        let status = list(Role::Owner, request).await.unwrap_err();
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_level_holds_for_its_time_and_is_an_event() {
    let ledger = Ledger::sqlite().await;
    let written = || tracing::enabled!(target: "inference", tracing::Level::DEBUG);
    let mut owner = LogServiceClient::new(ledger.as_person(Role::Owner));
    let now = async |client: &mut LogServiceClient<_>| {
        client.get_log_level(pb::GetLogLevelRequest::default()).await.unwrap().into_inner().levels.remove(0)
    };
    let before = now(&mut owner).await;
    assert_eq!(
        (before.level.as_str(), before.service.as_str(), written()),
        ("off,sqlx=off", "monitoring", false)
    );
    let set = |level: &str, micros: i64| pb::SetLogLevelRequest {
        level: level.to_owned(),
        duration: (micros != 0).then(|| prost_types::Duration {
            seconds: micros / 1_000_000,
            nanos: i32::try_from(micros % 1_000_000 * 1_000).unwrap(),
        }),
        reason: "to see".to_owned(),
        ..Default::default()
    };
    let level = set("off,inference=debug", 3_600_000_000);
    let told = owner.set_log_level(level).await.unwrap().into_inner().levels.remove(0);
    assert!(written() && told.revert_time.is_some(), "{told:?}");
    let brief = owner.set_log_level(set("off,inference=trace", 200_000)).await.unwrap().into_inner();
    assert_eq!(brief.levels[0].level, "off,inference=trace");
    while now(&mut owner).await != before {
        tokio::task::yield_now().await;
    }
    assert!(!written(), "it went back");
    owner.set_log_level(set("", 0)).await.unwrap();
    let events = log::list(&ledger.db, &Filter::default(), None, false, 100).await.unwrap();
    let told: Vec<_> = events.iter().map(|one| one.event.after.as_ref().unwrap()["level"].clone()).collect();
    assert_eq!(told, ["off,inference=debug", "off,inference=trace"], "what is so already is no event");
    assert_eq!(events[0].event.before, Some(json!({ "level": "off,sqlx=off" })));
    assert_eq!((events[0].event.kind.as_str(), events[0].event.reason.as_str()), ("log_level", "to see"));

    for (request, field) in [
        (set("loud", 0), "level"),
        (set("hyper=trace", 0), "level"),
        (set("info", 90_000_000_000), "duration"),
    ] {
        let status = owner.set_log_level(request).await.unwrap_err();
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
    for role in [Role::Operator, Role::Auditor, Role::Member] {
        let refused = LogServiceClient::new(ledger.as_person(role)).set_log_level(set("info", 0)).await;
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    }
    ledger.end().await;
}

on_both_engines!(
    readers_of_the_log_page_through_it_and_nobody_else_may,
    events_come_back_as_they_were_appended_and_are_bound_to_each_other,
    each_condition_of_a_filter_chooses_and_pages_do_not_overlap,
    what_was_rolled_back_leaves_no_event_and_no_gap,
    writers_at_once_take_turns_and_the_chain_has_no_branch,
);
