//! Security incidents: recorded, merged, listed by what they are, counted over time (A8).

mod seen;

use crate::world::{World, assert_invalid, assert_refused, in_seconds, on_both_engines, uuid};
use proto::{common::v1::Role, permissions::v1 as pb};
use tonic::Code;

fn seen(kind: pb::IncidentKind, actor: &str, address: &str, at: i64, count: i64) -> pb::Incident {
    pb::Incident {
        kind: kind.into(),
        actor: actor.to_owned(),
        address: address.to_owned(),
        method: "/x.Y/Z".to_owned(),
        detail: "KEY_UNKNOWN".to_owned(),
        count,
        first_time: Some(in_seconds(at)),
        last_time: Some(in_seconds(at + 1)),
        ..Default::default()
    }
}

async fn record(world: &World, incidents: Vec<pb::Incident>) {
    world.service().incidents().record_incidents(pb::RecordIncidentsRequest { incidents }).await.unwrap();
}

pub(crate) async fn list(world: &World, request: pb::ListIncidentsRequest) -> Vec<pb::Incident> {
    world.owner.incidents().list_incidents(request).await.unwrap().into_inner().incidents
}

fn any() -> pb::ListIncidentsRequest {
    pb::ListIncidentsRequest::default()
}

use pb::IncidentKind::{CallRefused, CredentialRefused, SignInFailed};

on_both_engines! {
    async fn they_are_found_by_time_kind_actor_and_address_newest_first(world: World) {
        let (ana, key) = (uuid(), uuid());
        record(world, vec![
            pb::Incident { key_id: key.clone(), ..seen(CallRefused, &ana, "192.0.2.1", -300, 1) },
            seen(CredentialRefused, "", "192.0.2.1", -200, 5),
            seen(SignInFailed, &ana, "2001:db8::1", -100, 2),
        ]).await;
        let kinds = |incidents: Vec<pb::Incident>| incidents.iter().map(pb::Incident::kind).collect::<Vec<_>>();
        assert_eq!(kinds(list(world, any()).await), [SignInFailed, CredentialRefused, CallRefused]);
        let since = pb::ListIncidentsRequest { from_time: Some(in_seconds(-250)), to_time: Some(in_seconds(-150)), ..any() };
        assert_eq!(kinds(list(world, since).await), [CredentialRefused]);
        let kind = pb::ListIncidentsRequest { kind: SignInFailed.into(), ..any() };
        assert_eq!(kinds(list(world, kind).await), [SignInFailed]);
        let actor = pb::ListIncidentsRequest { actor: ana.clone(), ..any() };
        assert_eq!(kinds(list(world, actor).await), [SignInFailed, CallRefused]);
        let at = |address: &str| pb::ListIncidentsRequest { address: address.to_owned(), ..any() };
        assert_eq!(kinds(list(world, at("192.0.2.1")).await), [CredentialRefused, CallRefused]);
        assert_eq!(kinds(list(world, at("::ffff:192.0.2.1")).await), [CredentialRefused, CallRefused]);
        let one = list(world, at("2001:db8:0::1")).await.remove(0);
        assert_eq!((one.address.as_str(), one.count, one.method.as_str(), one.detail.as_str()), ("2001:db8::1", 2, "/x.Y/Z", "KEY_UNKNOWN"));
        assert_eq!(list(world, any()).await[2].key_id, key);
    }

    async fn they_are_listed_page_by_page_without_gaps(world: World) {
        // Some at the same instant: the id decides.
        let at = in_seconds(-60);
        let incidents = (0..7).map(|number| pb::Incident {
            detail: number.to_string(), first_time: Some(at), ..seen(CredentialRefused, "", "", 0, 1)
        });
        record(world, incidents.collect()).await;
        let (mut found, mut page) = (Vec::new(), pb::ListIncidentsRequest { page_size: 3, ..any() });
        loop {
            let answer = world.owner.incidents().list_incidents(page.clone()).await.unwrap().into_inner();
            found.extend(answer.incidents.into_iter().map(|one| one.detail));
            if answer.next_page_token.is_empty() {
                break;
            }
            page.page_token = answer.next_page_token;
        }
        found.sort();
        assert_eq!(found, ["0", "1", "2", "3", "4", "5", "6"]);
    }

    async fn they_are_counted_in_stretches_of_time(world: World) {
        let hour = 3_600;
        record(world, vec![
            seen(CredentialRefused, "", "192.0.2.1", -3 * hour, 4),
            seen(CredentialRefused, "", "192.0.2.2", -3 * hour + 60, 3),
            seen(CallRefused, "", "192.0.2.1", -3 * hour + 120, 1),
            seen(CredentialRefused, "", "192.0.2.1", -hour, 10),
            seen(CredentialRefused, "", "192.0.2.1", -40 * hour, 99),
        ]).await;
        let count = pb::CountIncidentsRequest {
            from_time: Some(in_seconds(-4 * hour)), to_time: Some(in_seconds(0)),
            bucket: Some(prost_types::Duration { seconds: 2 * hour, nanos: 0 }), ..Default::default()
        };
        let counted = |answer: pb::CountIncidentsResponse, from: i64| answer.buckets.iter()
            .map(|bucket| ((bucket.start_time.unwrap().seconds - from) / hour, bucket.kind(), bucket.count)).collect::<Vec<_>>();
        let from = count.from_time.unwrap().seconds;
        let answer = world.owner.incidents().count_incidents(count.clone()).await.unwrap().into_inner();
        assert_eq!(counted(answer, from), [(0, CallRefused, 1), (0, CredentialRefused, 7), (2, CredentialRefused, 10)]);
        let at = pb::CountIncidentsRequest { address: "192.0.2.2".to_owned(), ..count };
        let answer = world.owner.incidents().count_incidents(at).await.unwrap().into_inner();
        assert_eq!(counted(answer, from), [(0, CredentialRefused, 3)]);
        let day = world.owner.incidents().count_incidents(pb::CountIncidentsRequest::default()).await.unwrap().into_inner();
        assert_eq!(day.bucket.unwrap().seconds, hour);
        assert_eq!(day.buckets.iter().map(|bucket| bucket.count).sum::<i64>(), 18);
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_its_field() {
    let world = World::sqlite().await;
    let good = seen(SignInFailed, "", "", 0, 1);
    let cases = [
        (pb::Incident { kind: 0, ..good.clone() }, "kind"),
        (pb::Incident { kind: 7, ..good.clone() }, "kind"),
        (pb::Incident { count: 0, ..good.clone() }, "count"),
        (pb::Incident { first_time: None, ..good.clone() }, "first_time"),
        (pb::Incident { address: "x".to_owned(), ..good.clone() }, "address"),
        (pb::Incident { key_id: "x".to_owned(), ..good.clone() }, "key_id"),
        (pb::Incident { detail: "x".repeat(201), ..good.clone() }, "detail"),
    ];
    for (incident, field) in cases {
        let request = pb::RecordIncidentsRequest { incidents: vec![good.clone(), incident] };
        assert_invalid(world.service().incidents().record_incidents(request).await, field);
    }
    let many = pb::RecordIncidentsRequest { incidents: vec![good; 1_001] };
    assert_invalid(world.service().incidents().record_incidents(many).await, "incidents");
    assert_eq!(list(&world, any()).await, [], "all or nothing");
    let swapped =
        pb::ListIncidentsRequest { from_time: Some(in_seconds(1)), to_time: Some(in_seconds(0)), ..any() };
    assert_invalid(world.owner.incidents().list_incidents(swapped).await, "from_time");
    let second = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let fine = pb::CountIncidentsRequest { bucket: second, ..Default::default() };
    assert_invalid(world.owner.incidents().count_incidents(fine).await, "bucket");
    let member = world.user(Role::Member).await;
    assert_refused(
        member.incidents().list_incidents(any()).await,
        Code::PermissionDenied,
        "ROLE_NOT_ALLOWED",
    );
}
