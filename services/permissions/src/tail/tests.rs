use super::*;
use shared::{health::Health, seal::Sealer};
use tokio::task::JoinSet;
use uuid::Uuid;

/// A tail that looks by itself once in a minute.
async fn tail(tasks: &Tasks) -> Tail {
    let db = Db::memory(&crate::MIGRATIONS).await.unwrap();
    let tokens = Tokens::new(Uuid::from_u128(1), &Sealer::new(&[Sealer::generate()]).unwrap());
    let reporter = Health::default().component("policy", true);
    Tail::start(db, tokens, Bounds::default(), Duration::from_secs(60), tasks, reporter).await.unwrap()
}

#[tokio::test]
async fn everybody_who_asks_at_once_shares_a_look_and_nobody_one_that_began_before() {
    let tasks = Tasks::default();
    let tail = tail(&tasks).await;
    let looks = || tail.0.begun.load(Ordering::SeqCst);
    for round in 1..20 {
        let before = looks();
        let mut asking = JoinSet::new();
        for _ in 0..200 {
            let tail = tail.clone();
            asking.spawn(async move {
                let begun = tail.0.begun.load(Ordering::SeqCst);
                tail.current(Duration::from_secs(20)).await.unwrap();
                // The look that was waited for has a number that was not given out yet when it was asked for.
                assert!(*tail.0.done.borrow() > begun);
            });
        }
        while let Some(asked) = asking.join_next().await {
            asked.unwrap();
        }
        assert!((1..=3).contains(&(looks() - before)), "round {round}: {} looks for 200", looks() - before);
    }
    assert!(tasks.end(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn only_a_hint_of_what_is_not_there_yet_makes_anybody_look() {
    let tasks = Tasks::default();
    let tail = tail(&tasks).await;
    let place = tail.place().unwrap();
    let looks = tail.0.begun.load(Ordering::SeqCst);
    tail.hear(place);
    tail.hear(Token { revision: Revision(0), ..place });
    tokio::task::yield_now().await;
    assert_eq!(tail.0.begun.load(Ordering::SeqCst), looks);
    let mut done = tail.0.done.subscribe();
    tail.hear(Token { revision: place.revision.next(), ..place });
    done.changed().await.unwrap();
    assert_eq!(tail.0.begun.load(Ordering::SeqCst), looks + 1);
    assert!(tasks.end(Duration::from_secs(5)).await);
}

#[tokio::test(start_paused = true)]
async fn a_look_may_take_as_long_as_loading_takes_and_not_longer_than_a_round_otherwise() {
    let after = |time| async move { tokio::time::sleep(time).await };
    assert!(patiently(after(ROUND - Duration::from_millis(1)), || false).await.is_ok());
    assert!(patiently(after(ROUND * 2), || false).await.is_err());
    let mut rounds = 0;
    let loading = || {
        rounds += 1;
        true
    };
    assert!(patiently(after(ROUND * 20), loading).await.is_ok());
    assert_eq!(rounds, 19, "it is asked after every round");
    // Loading has ended, and what comes after it stands still.
    let mut left = 3;
    let loaded = || {
        left -= 1;
        left > 0
    };
    assert!(patiently(std::future::pending::<()>(), loaded).await.is_err());
    assert!(patiently(std::future::pending::<()>(), || true).await.is_err(), "not for ever either");
}
