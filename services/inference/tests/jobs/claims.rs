//! Taking, keeping and ending.

use crate::world::{LEASE, QUEUE, World, at};
use shared::claims::{self, Beat, End, Entered, Failure, Filter, State};
use std::collections::BTreeSet;
use uuid::Uuid;

fn failure() -> Failure {
    Failure { reason: "ENGINE_FAILED".to_owned(), message: "it did not answer".to_owned() }
}

async fn no_two_workers_ever_have_the_same(world: &World) {
    let mut all = BTreeSet::new();
    for _ in 0..60 {
        all.insert(world.enter(at(0)).await);
    }
    let workers = (0..6).map(|number| {
        let name = format!("worker-{number}");
        async move {
            let mut mine = Vec::new();
            loop {
                let taken = world.take(&name, 4, at(1)).await;
                assert!(taken.len() <= 4);
                if taken.is_empty() {
                    return mine;
                }
                mine.extend(taken.into_iter().map(|claim| claim.ticket.id));
            }
        }
    });
    let taken: Vec<Uuid> = futures_util::future::join_all(workers).await.concat();
    assert_eq!(taken.len(), all.len(), "each was taken once");
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), all);
}

async fn the_first_to_be_due_is_taken_first(world: &World) {
    let (late, early, future) =
        (world.enter(at(5)).await, world.enter(at(2)).await, world.enter(at(100)).await);
    assert_eq!(claims::next_due(&world.vault.db, crate::world::QUEUE).await.unwrap(), Some(at(2)));
    let first = world.take("one", 1, at(10)).await;
    let second = world.take("one", 5, at(10)).await;
    let ids = |claims: &[claims::Claim]| claims.iter().map(|claim| claim.ticket.id).collect::<Vec<_>>();
    assert_eq!((ids(&first), ids(&second)), (vec![early], vec![late]));
    assert!(world.take("one", 5, at(11)).await.is_empty(), "{future} is not due");
}

async fn who_lost_the_lease_can_write_nothing(world: &World) {
    let id = world.enter(at(0)).await;
    let lost = world.take_one(at(0)).await;
    assert!(world.take("another", 1, at(14)).await.is_empty(), "it is held for so long");
    let taken = world.take_one(at(15)).await;
    assert_eq!((taken.ticket.id, taken.attempt, lost.attempt), (id, 2, 1));
    assert!(taken.ticket.fence > lost.ticket.fence);

    let (ticket, keep) = (lost.ticket, (at(16), at(100)));
    assert_eq!(claims::beat(&world.vault.db, ticket, 50, at(99)).await.unwrap(), Beat::Lost);
    assert!(!claims::end(&world.vault, ticket, &End::Succeeded(b"mine".to_vec()), keep).await.unwrap());
    assert!(!claims::again(&world.vault, ticket, &failure(), at(20)).await.unwrap());
    assert!(!claims::back(&world.vault.db, ticket, at(20)).await.unwrap());
    let mut tx = world.vault.begin().await.unwrap();
    assert!(!claims::holds(&mut tx, ticket).await.unwrap());
    assert!(claims::holds(&mut tx, taken.ticket).await.unwrap());
    drop(tx);

    assert!(claims::end(&world.vault, taken.ticket, &End::Succeeded(b"ours".to_vec()), keep).await.unwrap());
    let row = claims::get(&world.vault, id, world.owner).await.unwrap().unwrap();
    assert_eq!((row.state, row.percent), (State::Succeeded, 100));
    assert_eq!(row.result.as_deref(), Some(&b"ours"[..]));
    assert!(
        !claims::end(&world.vault, taken.ticket, &End::Cancelled, keep).await.unwrap(),
        "what is over stays as it is"
    );
}

async fn a_sign_of_life_puts_the_end_of_the_lease_off(world: &World) {
    let id = world.enter(at(0)).await;
    let claim = world.take_one(at(0)).await;
    let beat = claims::beat(&world.vault.db, claim.ticket, 40, at(10).plus(LEASE)).await.unwrap();
    assert_eq!(beat, Beat::Held);
    assert!(world.take("another", 1, at(24)).await.is_empty());
    assert_eq!(claims::get(&world.vault, id, world.owner).await.unwrap().unwrap().percent, 40);
    assert_eq!(world.take_one(at(25)).await.percent, 40, "how far it was is known to who goes on");
}

async fn what_failed_waits_and_says_why(world: &World) {
    let id = world.enter(at(0)).await;
    let claim = world.take_one(at(0)).await;
    assert!(claims::again(&world.vault, claim.ticket, &failure(), at(8)).await.unwrap());
    assert!(world.take("another", 1, at(7)).await.is_empty());
    let row = claims::get(&world.vault, id, world.owner).await.unwrap().unwrap();
    assert_eq!((row.state, row.due, row.failure), (State::Pending, at(8), Some(failure())));
    let claim = world.take_one(at(8)).await;
    assert_eq!(claim.attempt, 2);
    assert!(claims::back(&world.vault.db, claim.ticket, at(8)).await.unwrap());
    assert_eq!(world.take_one(at(8)).await.attempt, 2, "what was given back was not begun");
}

async fn what_is_over_is_kept_for_a_while(world: &World) {
    let (short, long) = (world.enter(at(0)).await, world.enter(at(0)).await);
    for claim in world.take("one", 5, at(0)).await {
        let expires = if claim.ticket.id == short { at(50) } else { at(90) };
        let end = End::Failed(failure());
        assert!(claims::end(&world.vault, claim.ticket, &end, (at(1), expires)).await.unwrap());
    }
    let waits = world.enter(at(0)).await;
    assert_eq!(claims::purge(&world.vault.db, 10, at(49)).await.unwrap(), 0);
    assert_eq!(claims::purge(&world.vault.db, 10, at(50)).await.unwrap(), 1);
    let left = claims::page(&world.vault, world.owner, Filter::default(), None, 10).await.unwrap();
    assert_eq!(left.iter().map(|row| row.id).collect::<Vec<_>>(), [waits, long], "the newest first");
    assert_eq!(claims::waiting(&world.vault.db, world.owner, 10).await.unwrap(), 1);
}

async fn a_lock_lets_one_in_until_it_is_over(world: &World) {
    let locked = |id| claims::New { lock: Some("report-7/summary"), ..world.new_one(id, at(0)) };
    let first = Uuid::now_v7();
    assert_eq!(world.try_enter(&locked(first)).await, Entered::New);
    assert_eq!(world.try_enter(&locked(Uuid::now_v7())).await, Entered::Locked(first));
    let claim = world.take_one(at(0)).await;
    assert_eq!(claim.lock.as_deref(), Some("report-7/summary"));
    assert_eq!(world.try_enter(&locked(Uuid::now_v7())).await, Entered::Locked(first));
    assert!(claims::end(&world.vault, claim.ticket, &End::Cancelled, (at(1), at(9))).await.unwrap());
    assert_eq!(world.try_enter(&locked(Uuid::now_v7())).await, Entered::New);
}

async fn the_same_request_is_entered_once(world: &World) {
    let named = |id, request| claims::New { request: Some((request, b"this")), ..world.new_one(id, at(0)) };
    let first = Uuid::now_v7();
    assert_eq!(world.try_enter(&named(first, "a")).await, Entered::New);
    assert_eq!(world.try_enter(&named(Uuid::now_v7(), "a")).await, Entered::Known(first));
    assert_eq!(world.try_enter(&named(Uuid::now_v7(), "b")).await, Entered::New);
    let other = claims::New { request: Some(("a", b"that")), ..world.new_one(Uuid::now_v7(), at(0)) };
    assert_eq!(world.try_enter(&other).await, Entered::Reused);
    let another = claims::New { owner: Uuid::now_v7(), ..named(Uuid::now_v7(), "a") };
    assert_eq!(world.try_enter(&another).await, Entered::New, "others have names of their own");
}

async fn only_its_owner_cancels_it_and_its_worker_hears(world: &World) {
    let cancel = async |id, owner, later| {
        let mut tx = world.vault.begin().await.unwrap();
        let state = claims::cancel(&mut tx, (id, owner), later, (at(5), at(50))).await.unwrap();
        tx.commit().await.unwrap();
        state
    };
    let id = world.enter(at(0)).await;
    assert_eq!(cancel(id, Uuid::now_v7(), false).await, None);
    let claim = world.take_one(at(0)).await;
    assert_eq!(cancel(id, world.owner, false).await, Some(State::Running));
    assert_eq!(claims::beat(&world.vault.db, claim.ticket, 1, at(30)).await.unwrap(), Beat::Cancelled);
    assert!(claims::end(&world.vault, claim.ticket, &End::Cancelled, (at(6), at(50))).await.unwrap());
    assert_eq!(cancel(id, world.owner, false).await, None, "it is over");

    let waits = world.enter(at(0)).await;
    assert_eq!(cancel(waits, world.owner, false).await, Some(State::Cancelled));
    assert!(world.take("one", 5, at(9)).await.is_empty());

    let cleans_up = world.enter(at(1_000)).await;
    assert_eq!(cancel(cleans_up, world.owner, true).await, Some(State::Pending));
    let claim = world.take_one(at(9)).await;
    assert_eq!((claim.ticket.id, claim.cancel), (cleans_up, true), "a worker has to end it, and at once");
}

async fn what_there_is_can_be_counted(world: &World) {
    for _ in 0..3 {
        world.enter(at(0)).await;
    }
    world.take("a", 1, at(1)).await;
    world.take("b", 1, at(2)).await;
    let counts = claims::count(&world.vault.db, &[QUEUE, "another"]).await.unwrap();
    let of = |state| counts.iter().find(|count| count.state == state).map(|count| count.number);
    assert_eq!((of(State::Pending), of(State::Running), of(State::Failed)), (Some(1), Some(2), None));
    let busy = claims::busy(&world.vault.db).await.unwrap();
    let seen: Vec<_> = busy.iter().map(|busy| (busy.worker.as_str(), busy.number, busy.since)).collect();
    assert_eq!(seen, [("a", 1, Some(at(1))), ("b", 1, Some(at(2)))]);
}

on_both_engines!(
    no_two_workers_ever_have_the_same,
    the_first_to_be_due_is_taken_first,
    who_lost_the_lease_can_write_nothing,
    a_sign_of_life_puts_the_end_of_the_lease_off,
    what_failed_waits_and_says_why,
    what_is_over_is_kept_for_a_while,
    a_lock_lets_one_in_until_it_is_over,
    the_same_request_is_entered_once,
    only_its_owner_cancels_it_and_its_worker_hears,
    what_there_is_can_be_counted,
);
