//! The log of events from outside: listed, exported, and the chain that no change of it survives (P7).

use crate::{
    replica::Things,
    world::{Caller, World, assert_invalid, assert_missing, now, on_both_engines, uuid},
};
use pb::{ChainProblem, audit_service_client::AuditServiceClient, verify_chain_response::Fault};
use proto::{common::v1::Role, permissions::v1 as pb};
use rand::{SeedableRng, rngs::StdRng};
use shared::{
    channel::Channel,
    db::{Db, Time},
    on, time,
};
use tonic::Request;

pub(crate) fn audit(caller: &Caller) -> AuditServiceClient<Channel> {
    AuditServiceClient::new(caller.channel())
}

/// Every event, page by page.
pub(crate) async fn all(caller: &Caller, request: pb::ListEventsRequest) -> Vec<proto::common::v1::Event> {
    let (mut events, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListEventsRequest { page_token, ..request.clone() };
        let answer = audit(caller).list_events(request).await.unwrap().into_inner();
        assert!(answer.events.len() <= 1_000);
        events.extend(answer.events);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return events;
        }
    }
}

async fn filtered(world: &World, filter: proto::common::v1::EventFilter) -> Vec<proto::common::v1::Event> {
    all(&world.owner, pb::ListEventsRequest { filter: Some(filter), page_size: 7, ..Default::default() })
        .await
}

async fn export(caller: &Caller, request: pb::ExportEventsRequest) -> Vec<proto::common::v1::Event> {
    let mut stream = audit(caller).export_events(request).await.unwrap().into_inner();
    let mut events = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        events.push(message.event.unwrap());
    }
    events
}

/// The last word of a verification.
pub(crate) async fn verify(world: &World, from_revision: u64, to_revision: u64) -> pb::VerifyChainResponse {
    let request = pb::VerifyChainRequest { from_revision, to_revision };
    let mut stream = audit(&world.owner).verify_chain(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(message) = stream.message().await.unwrap() {
        assert!(last.is_none_or(|last: pb::VerifyChainResponse| !last.finished));
        last = Some(message);
    }
    let last = last.unwrap();
    assert!(last.finished);
    last
}

async fn fill(world: &World, changes: u32) {
    let mut things = Things::new(world).await;
    let mut random = StdRng::seed_from_u64(5);
    for n in 0..changes {
        things.change(world, &mut random, n).await;
    }
}

async fn head(db: &Db) -> u64 {
    let head: i64 =
        on!(db, |pool| sqlx::query_scalar("SELECT revision FROM head").fetch_one(pool).await).unwrap();
    u64::try_from(head).unwrap()
}

/// Runs statements on the store and says what the verification says then.
async fn after(world: &World, statements: &[&'static str]) -> Option<(u64, u32, ChainProblem)> {
    for statement in statements {
        world.sql(statement).await;
    }
    verify(world, 0, 0).await.fault.map(|fault| (fault.revision, fault.ordinal, fault.problem()))
}

on_both_engines! {
    async fn every_filter_lets_through_what_it_names(world: World) {
        fill(world, 40).await;
        let admin = world.user(Role::Admin).await;
        let started = now();
        let mut request = Request::new(pb::CreateGroupRequest { name: "team".to_owned(), reason: "why".to_owned(), ..Default::default() });
        request.metadata_mut().insert("x-request-id", "request-17".parse().unwrap());
        let group = admin.groups().create_group(request).await.unwrap().into_inner().group.unwrap().group_id;
        let ended = now();
        world.group("other").await;
        let everything = all(&world.owner, pb::ListEventsRequest::default()).await;
        assert!(everything.len() > 50);
        assert!(everything.windows(2).all(|two| (two[0].revision, two[0].ordinal) > (two[1].revision, two[1].ordinal)));
        let one = filtered(world, proto::common::v1::EventFilter { actor: admin.id.clone(), ..Default::default() }).await;
        assert_eq!(one.len(), 1);
        let event = &one[0];
        let said = (event.kind.as_str(), event.id.as_str(), event.action.as_str(), event.reason.as_str(), event.request_id.as_str());
        assert_eq!(said, ("group", group.as_str(), "created", "why", "request-17"));
        assert!(event.before.is_none() && event.after.is_some() && event.change.is_some() && !event.key_id.is_empty());
        let (start, end) = (Some(time::to_proto(started)), Some(time::to_proto(ended)));
        let filters = [
            proto::common::v1::EventFilter { kind: "group".to_owned(), id: group, ..Default::default() },
            proto::common::v1::EventFilter { request_id: "request-17".to_owned(), ..Default::default() },
            proto::common::v1::EventFilter { start_time: start, end_time: end, ..Default::default() },
            proto::common::v1::EventFilter { from_revision: event.revision, to_revision: event.revision, ..Default::default() },
        ];
        for filter in filters {
            assert_eq!(filtered(world, filter.clone()).await, one, "{filter:?}");
        }
        for action in ["created", "updated", "deleted", "revoked", "member_added", "nothing"] {
            let expected: Vec<_> = everything.iter().filter(|event| event.action == action).cloned().collect();
            assert_eq!(filtered(world, proto::common::v1::EventFilter { action: action.to_owned(), ..Default::default() }).await, expected);
        }
        let place = pb::GetEventRequest { revision: event.revision, ordinal: event.ordinal };
        let got = audit(&world.owner).get_event(place).await.unwrap().into_inner().event.unwrap();
        assert_eq!(&got, event);
    }

    async fn pages_and_exports_have_every_event_once(world: World) {
        fill(world, 40).await;
        let newest = all(&world.owner, pb::ListEventsRequest { page_size: 1_000, ..Default::default() }).await;
        let mut oldest = all(&world.owner, pb::ListEventsRequest { page_size: 3, oldest_first: true, ..Default::default() }).await;
        let exported = export(&world.owner, pb::ExportEventsRequest::default()).await;
        assert_eq!(exported, oldest);
        for (number, event) in exported.iter().enumerate().step_by(9) {
            let request = pb::ExportEventsRequest {
                after_revision: event.revision,
                after_ordinal: Some(event.ordinal),
                ..Default::default()
            };
            assert_eq!(export(&world.owner, request).await, exported[number + 1..]);
        }
        let filter = Some(proto::common::v1::EventFilter { kind: "grant".to_owned(), ..Default::default() });
        let grants = export(&world.owner, pb::ExportEventsRequest { filter, ..Default::default() }).await;
        assert_eq!(grants, exported.into_iter().filter(|event| event.kind == "grant").collect::<Vec<_>>());
        oldest.reverse();
        assert_eq!(oldest, newest);
    }

    async fn nothing_that_opens_or_names_somebody_is_shown(world: World) {
        fill(world, 40).await;
        let emails: Vec<String> = on!(&world.db, |pool| sqlx::query_scalar("SELECT email FROM users").fetch_all(pool).await).unwrap();
        let hashes: Vec<Vec<u8>> = on!(&world.db, |pool| sqlx::query_scalar("SELECT hash FROM keys").fetch_all(pool).await).unwrap();
        let auditor = world.user(Role::Auditor).await;
        let mut shown = format!("{:?}", export(&auditor, pb::ExportEventsRequest::default()).await);
        let state = pb::GetStateAtRequest { kind: "key".to_owned(), ..Default::default() };
        shown += &format!("{:?}", audit(&auditor).get_state_at(state).await.unwrap().into_inner());
        assert!(hashes.len() > 4 && emails.len() > 4);
        for secret in hashes.iter().map(hex::encode).chain(emails) {
            assert!(!shown.contains(&secret), "{secret}");
        }
        let raw: Vec<String> = hashes.iter().map(|hash| format!("{:?}", bytes(hash))).collect();
        assert!(raw.iter().all(|raw| !shown.contains(raw)));
    }

    async fn wrong_questions_name_the_field(world: World) {
        let list = |filter| pb::ListEventsRequest { filter: Some(filter), ..Default::default() };
        let owner = || audit(&world.owner);
        assert_missing(owner().get_event(pb::GetEventRequest { revision: 99, ordinal: 1 }).await, "event", "99/1");
        let filter = proto::common::v1::EventFilter { id: uuid(), ..Default::default() };
        assert_invalid(owner().list_events(list(filter)).await, "filter.kind");
        let filter = proto::common::v1::EventFilter { actor: "x".repeat(201), ..Default::default() };
        assert_invalid(owner().list_events(list(filter)).await, "filter.actor");
        let bad = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
        let filter = proto::common::v1::EventFilter { start_time: Some(bad), ..Default::default() };
        assert_invalid(owner().list_events(list(filter)).await, "filter.start_time");
        assert_invalid(owner().list_events(pb::ListEventsRequest { page_size: -1, ..Default::default() }).await, "page_size");
        world.group("one").await;
        let first = owner().list_events(pb::ListEventsRequest { page_size: 1, ..Default::default() }).await.unwrap().into_inner();
        let other = pb::ListEventsRequest { page_token: first.next_page_token, oldest_first: true, ..Default::default() };
        assert_invalid(owner().list_events(other).await, "page_token");
        let request = pb::VerifyChainRequest { from_revision: 0, to_revision: 1_000 };
        assert_invalid(owner().verify_chain(request).await, "to_revision");
        let request = pb::VerifyChainRequest { from_revision: 2, to_revision: 1 };
        assert_invalid(owner().verify_chain(request).await, "from_revision");
    }

    async fn the_chain_holds_over_every_span(world: World) {
        fill(world, 30).await;
        let head = head(&world.db).await;
        let whole = verify(world, 0, 0).await;
        let count: i64 = on!(&world.db, |pool| sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(pool).await).unwrap();
        assert_eq!((whole.fault, whole.revision, whole.checked, whole.unchained), (None, head, u64::try_from(count).unwrap(), 0));
        for (from, to) in [(1, 1), (1, 5), (3, 9), (head, head), (2, 0)] {
            let part = verify(world, from, to).await;
            assert_eq!((part.fault, part.revision), (None, if to == 0 { head } else { to }), "{from} to {to}");
        }
    }

    async fn a_change_of_any_column_is_found_and_named(world: World) {
        fill(world, 30).await;
        assert_eq!(after(world, &["CREATE TABLE kept AS SELECT * FROM events", "CREATE TABLE kept_head AS SELECT * FROM head"]).await, None);
        let changes: [(&'static str, (u64, u32, ChainProblem)); 14] = [
            ("UPDATE events SET kind = 'x' WHERE revision = 9 AND ordinal = 0", (9, 0, ChainProblem::Changed)),
            ("UPDATE events SET id = 'x' WHERE revision = 9 AND ordinal = 0", (9, 0, ChainProblem::Changed)),
            ("UPDATE events SET action = 'x' WHERE revision = 9 AND ordinal = 0", (9, 0, ChainProblem::Changed)),
            ("UPDATE events SET actor = 'x' WHERE revision = 9 AND ordinal = 0", (9, 0, ChainProblem::Changed)),
            ("UPDATE events SET request_id = 'x' WHERE revision = 9 AND ordinal = 0", (9, 0, ChainProblem::Changed)),
            ("UPDATE events SET reason = 'x' WHERE revision = 9 AND ordinal = 0", (9, 0, ChainProblem::Changed)),
            ("UPDATE events SET before = '{\"x\": 1}' WHERE revision = 9 AND ordinal = 0", (9, 0, ChainProblem::Changed)),
            ("UPDATE events SET after = '{\"x\": 1}' WHERE revision = 9 AND ordinal = 0", (9, 0, ChainProblem::Changed)),
            ("UPDATE events SET change = NULL WHERE revision = 9 AND ordinal = 0", (9, 0, ChainProblem::Changed)),
            ("UPDATE events SET key_id = (SELECT id FROM users LIMIT 1) WHERE revision = 9 AND ordinal = 0", (9, 0, ChainProblem::Changed)),
            ("UPDATE events SET occurred_at = (SELECT occurred_at FROM events WHERE revision = 8 AND ordinal = 0) \
                WHERE revision = 9 AND ordinal = 0", (9, 0, ChainProblem::Changed)),
            ("UPDATE events SET link = (SELECT link FROM events WHERE revision = 2 AND ordinal = 0) \
                WHERE revision = 9 AND ordinal = 0", (9, 0, ChainProblem::LinkChanged)),
            ("UPDATE events SET link = NULL WHERE revision = 9 AND ordinal = 0", (9, 0, ChainProblem::LinkMissing)),
            ("UPDATE events SET ordinal = 1 WHERE revision = 9 AND ordinal = 0", (9, 0, ChainProblem::Missing)),
        ];
        for (change, fault) in changes {
            assert_eq!(after(world, &[change]).await, Some(fault), "{change}");
            assert_eq!(verify(world, 0, 8).await.fault, None, "before it, all is well");
            assert_eq!(after(world, &["DELETE FROM events", "INSERT INTO events SELECT * FROM kept"]).await, None);
        }
        assert_eq!(after(world, &["UPDATE events SET revision = 900 WHERE revision = 9"]).await, Some((9, 0, ChainProblem::Missing)));
    }

    async fn what_is_gone_put_in_or_moved_is_found_and_named(world: World) {
        fill(world, 30).await;
        let head = head(&world.db).await;
        let last: i64 = on!(&world.db, |pool| sqlx::query_scalar("SELECT max(ordinal) FROM events WHERE revision = 8").fetch_one(pool).await).unwrap();
        let last = u32::try_from(last).unwrap();
        after(world, &["CREATE TABLE kept AS SELECT * FROM events", "CREATE TABLE kept_head AS SELECT * FROM head"]).await;
        let put_in = "INSERT INTO events SELECT 8, (SELECT max(ordinal) + 1 FROM events WHERE revision = 8), action, change, \
            actor, request_id, reason, occurred_at, key_id, kind, id, before, after, link FROM events WHERE revision = 4 AND ordinal = 0";
        // The columns stand in another order on PostgreSQL.
        let columns = "INSERT INTO events (revision, ordinal, action, change, actor, request_id, reason, occurred_at, key_id, kind, id, \
            before, after, link) SELECT 8, (SELECT max(ordinal) + 1 FROM events WHERE revision = 8), action, change, actor, request_id, \
            reason, occurred_at, key_id, kind, id, before, after, link FROM events WHERE revision = 4 AND ordinal = 0";
        let put_in = if matches!(world.db, Db::Postgres(_)) { columns } else { put_in };
        let swap = ["UPDATE events SET revision = 900 WHERE revision = 9", "UPDATE events SET revision = 9 WHERE revision = 10",
            "UPDATE events SET revision = 10 WHERE revision = 900"];
        type Case<'a> = (&'a [&'static str], (u64, u32, ChainProblem));
        let cases: [Case<'_>; 6] = [
            (&["DELETE FROM events WHERE revision = 9"], (9, 0, ChainProblem::Missing)),
            (&["DELETE FROM events WHERE revision = (SELECT revision FROM head)"], (head, 0, ChainProblem::Missing)),
            (&["DELETE FROM events WHERE revision <= 9"], (9, 0, ChainProblem::Missing)),
            (&[put_in], (8, last + 1, ChainProblem::Inserted)),
            (&swap, (9, 0, ChainProblem::Changed)),
            (&["UPDATE head SET link = (SELECT link FROM events WHERE revision = 3 AND ordinal = 0)"], (0, 0, ChainProblem::HeadChanged)),
        ];
        for (statements, fault) in cases {
            let found = after(world, statements).await;
            let found = found.map(|found| if found.2 == ChainProblem::HeadChanged { (0, 0, found.2) } else { found });
            assert_eq!(found, Some(fault), "{statements:?}");
            let restore = ["DELETE FROM events", "INSERT INTO events SELECT * FROM kept",
                "UPDATE head SET link = (SELECT link FROM kept_head)"];
            assert_eq!(after(world, &restore).await, None);
        }
    }

    async fn events_of_before_the_chain_are_counted_apart(world: World) {
        fill(world, 10).await;
        world.sql("DELETE FROM events WHERE revision > 1").await;
        world.sql("UPDATE events SET link = NULL").await;
        let zeros = if matches!(world.db, Db::Postgres(_)) {
            "UPDATE head SET revision = 1, link = decode(repeat('00', 32), 'hex')"
        } else {
            "UPDATE head SET revision = 1, link = zeroblob(32)"
        };
        world.sql(zeros).await;
        let other = world.another().await;
        other.group("first-of-the-chain").await;
        let found = verify(&other, 0, 0).await;
        assert_eq!((found.unchained, found.checked, found.fault), (2, 1, None));
        world.sql("UPDATE events SET link = NULL WHERE revision = 2").await;
        let found = verify(&other, 0, 0).await;
        let fault = Fault { revision: 1, ordinal: 1, problem: ChainProblem::HeadChanged.into() };
        assert_eq!((found.unchained, found.fault), (3, Some(Fault { revision: 2, ordinal: 0, ..fault })));
        other.end().await;
    }
}

/// As `Debug` of a message shows bytes.
fn bytes(hash: &[u8]) -> tonic::codegen::Bytes {
    hash.to_vec().into()
}

/// The instants of the log, to ask about.
pub(crate) async fn instants(db: &Db) -> Vec<policy::Time> {
    let times: Vec<Time> =
        on!(db, |pool| sqlx::query_scalar("SELECT DISTINCT occurred_at FROM events ORDER BY 1")
            .fetch_all(pool)
            .await)
        .unwrap();
    times.into_iter().map(policy::Time::from).collect()
}
