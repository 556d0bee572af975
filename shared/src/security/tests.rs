//! Equal incidents are one, different ones are bounded, and what was not delivered is tried again.

use super::*;
use tokio::sync::mpsc;
use uuid::Uuid;

fn incident(detail: &str) -> Incident {
    Incident {
        kind: Kind::CredentialRefused,
        actor: String::new(),
        key: None,
        address: Some([192, 0, 2, 1].into()),
        method: "/tollgate.permissions.v1.UserService/ListUsers".to_owned(),
        detail: detail.to_owned(),
    }
}

#[test]
fn equal_incidents_are_one_with_a_count_and_its_times() {
    let watch = Watch::default();
    for micros in [5, 3, 9] {
        watch.report(incident("KEY_UNKNOWN"), Time(micros));
    }
    watch.report(incident("KEY_REVOKED"), Time(4));
    let mut seen = watch.take().incidents;
    seen.sort_by_key(|seen| seen.count);
    assert_eq!(seen[1], Seen { incident: incident("KEY_UNKNOWN"), count: 3, first: Time(3), last: Time(9) });
    assert_eq!(seen.len(), 2);
    assert!(watch.take().is_empty());
}

#[test]
fn a_flood_of_different_incidents_is_bounded_and_known_ones_still_count() {
    let watch = Watch::default();
    for number in 0..INCIDENTS + 100 {
        watch.report(incident(&number.to_string()), Time(1));
    }
    watch.report(incident("0"), Time(2));
    let seen = watch.take().incidents;
    assert_eq!(seen.len(), INCIDENTS);
    assert!(seen.iter().any(|seen| seen.incident.detail == "0" && seen.count == 2));
}

#[test]
fn what_is_given_back_adds_to_what_came_since() {
    let (watch, key) = (Watch::default(), KeyId(Uuid::from_u128(1)));
    watch.used(key, Time(1));
    watch.report(incident("x"), Time(1));
    let batch = watch.take();
    watch.used(key, Time(2));
    watch.report(incident("x"), Time(2));
    watch.give_back(batch);
    let batch = watch.take();
    assert_eq!(batch.uses, [KeyUse { key, count: 2, last: Time(2) }]);
    assert_eq!(batch.incidents[0].count, 2);
}

#[tokio::test]
async fn what_could_not_be_delivered_is_tried_again_and_the_rest_at_the_end() {
    let (watch, tasks) = (Watch::default(), Tasks::default());
    let (told, mut batches) = mpsc::unbounded_channel();
    let mut attempts = 0;
    watch.deliver(&tasks, Duration::from_millis(1), move |batch: Batch| {
        attempts += 1;
        let first = attempts == 1;
        let told = told.clone();
        async move {
            if first {
                return Err(batch);
            }
            told.send(batch).map_err(|refused| refused.0)
        }
    });
    watch.report(incident("x"), Time(1));
    assert_eq!(batches.recv().await.unwrap().incidents[0].count, 1);
    watch.report(incident("y"), Time(2));
    assert!(tasks.end(Duration::from_secs(5)).await);
    assert_eq!(batches.recv().await.unwrap().incidents[0].incident.detail, "y");
}

#[test]
fn every_kind_has_a_word_of_its_own() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_word(kind.as_str()), Some(kind));
    }
    assert_eq!(Kind::from_word(""), None);
}
