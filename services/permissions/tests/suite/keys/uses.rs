//! How often keys are used and when last: reported by services, added up, shown with the key (A4).

use super::{create, new};
use crate::world::{World, assert_invalid, in_seconds, on_both_engines, uuid};
use proto::permissions::v1 as pb;

fn used(key: &str, count: i64, at: i64) -> pb::KeyUse {
    pb::KeyUse { key_id: key.to_owned(), count, last_use_time: Some(in_seconds(at)) }
}

on_both_engines! {
    async fn uses_add_up_and_the_latest_stays(world: World) {
        let ((one, _), (other, _)) = (create(&world.owner, new()).await, create(&world.owner, new()).await);
        let report = |uses| pb::ReportKeyUseRequest { uses };
        let service = world.service();
        service.keys().report_key_use(report(vec![used(&one.key_id, 3, 20), used(&other.key_id, 1, 5)])).await.unwrap();
        let twice = vec![used(&one.key_id, 2, 10), used(&uuid(), 9, 0), used(&one.key_id, 1, 0)];
        service.keys().report_key_use(report(twice)).await.unwrap();
        let request = pb::GetKeyRequest { key_id: one.key_id.clone() };
        let key = world.owner.keys().get_key(request).await.unwrap().into_inner().key.unwrap();
        assert_eq!(key.use_count, 6);
        assert!(key.last_use_time.unwrap().seconds >= in_seconds(19).seconds);
        let listed = world.owner.keys().list_keys(pb::ListKeysRequest::default()).await.unwrap().into_inner().keys;
        assert!(listed.iter().any(|key| key.key_id == other.key_id && key.use_count == 1));
        assert_eq!(key.etag, one.etag, "being used changes nothing");
    }
}

#[tokio::test]
async fn a_report_that_cannot_be_is_refused_by_its_field() {
    let world = World::sqlite().await;
    let report = |one| pb::ReportKeyUseRequest { uses: vec![one] };
    let cases = [
        (report(used("x", 1, 0)), "key_id"),
        (report(used(&uuid(), 0, 0)), "count"),
        (report(pb::KeyUse { last_use_time: None, ..used(&uuid(), 1, 0) }), "last_use_time"),
        (pb::ReportKeyUseRequest { uses: vec![used(&uuid(), 1, 0); 1_001] }, "uses"),
    ];
    for (request, field) in cases {
        assert_invalid(world.service().keys().report_key_use(request).await, field);
    }
}
