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
