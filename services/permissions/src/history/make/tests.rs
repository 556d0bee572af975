use super::*;
use crate::{tail::Tail, token::Tokens};
use policy::{Bounds, Epoch};
use shared::{db::Db, health::Health, seal::Sealer};
use tokio::task::JoinSet;
use uuid::Uuid;

/// The history of a store at revision 1, to which nobody makes anything until the permits are given back.
async fn history(tasks: &Tasks) -> (History, Epoch) {
    let db = Db::memory(&crate::MIGRATIONS).await.unwrap();
    crate::bootstrap(&db, shared::time::now()).await.unwrap();
    let tokens = Tokens::new(Uuid::from_u128(1), &Sealer::new(&[Sealer::generate()]).unwrap());
    let reporter = Health::default().component("policy", true);
    let every = Duration::from_secs(60);
    let tail = Tail::start(db.clone(), tokens, Bounds::default(), every, tasks, reporter).await.unwrap();
    let epoch = tail.place().unwrap().epoch;
    (History::start(db, tail, tasks), epoch)
}

fn place(epoch: Epoch, revision: u64) -> Token {
    Token { epoch, revision: Revision(revision) }
}

fn orders(history: &History) -> usize {
    history.makers.lock().orders.len()
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn equal_questions_share_one_making_and_its_result_stays() {
    let tasks = Tasks::default();
    let (history, epoch) = history(&tasks).await;
    let permits = history.makers.0.permits.acquire_many(2).await.unwrap();
    let mut asking = JoinSet::new();
    for _ in 0..50 {
        let history = history.clone();
        asking.spawn(async move { history.at(place(epoch, 0)).await.unwrap() });
    }
    let waiting = || history.makers.lock().orders.values().map(watch::Sender::receiver_count).sum::<usize>();
    until(|| waiting() == 50).await;
    assert_eq!(orders(&history), 1);
    drop(permits);
    let states = asking.join_all().await;
    assert!(states.iter().all(|state| Arc::ptr_eq(state, &states[0])));
    assert!(Arc::ptr_eq(&states[0], &history.at(place(epoch, 0)).await.unwrap()));
    assert_eq!((states[0].revision, orders(&history)), (Revision(0), 0));
    assert!(tasks.end(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_begun_and_too_many_are_refused() {
    let tasks = Tasks::default();
    let (history, epoch) = history(&tasks).await;
    let permits = history.makers.0.permits.acquire_many(2).await.unwrap();
    let mut asking = JoinSet::new();
    for revision in 0..ORDERS as u64 {
        let history = history.clone();
        asking.spawn(async move { history.at(place(epoch, revision)).await.map(drop) });
    }
    until(|| orders(&history) == ORDERS).await;
    assert!(matches!(history.at(place(epoch, 99)).await, Err(Error::PastBusy)));
    asking.shutdown().await;
    drop(permits);
    until(|| orders(&history) == 0).await;
    assert!(history.makers.lock().shelf.take(place(epoch, 0), Instant::now()).is_none());
    assert_eq!(history.at(place(epoch, 0)).await.unwrap().revision, Revision(0));
    assert!(tasks.end(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn all_who_wait_are_told_why_there_is_no_state() {
    let tasks = Tasks::default();
    let (history, epoch) = history(&tasks).await;
    let permits = history.makers.0.permits.acquire_many(2).await.unwrap();
    let ask = |place| {
        let history = history.clone();
        async move { tokio::join!(history.at(place), history.at(place)) }
    };
    let ((future, also), (replaced, _)) = {
        let asked = async { tokio::join!(ask(place(epoch, 9)), ask(place(Epoch(Uuid::nil()), 1))) };
        let begin = async {
            until(|| orders(&history) == 2).await;
            drop(permits);
        };
        tokio::join!(asked, begin).0
    };
    assert!(matches!(future, Err(Error::NotKept { earliest: Revision(0), .. })), "{future:?}");
    assert!(matches!(also, Err(Error::NotKept { .. })), "{also:?}");
    assert!(matches!(replaced, Err(Error::StoreReplaced)), "{replaced:?}");
    history.db().close().await;
    let (away, also) = ask(place(epoch, 0)).await;
    assert!(matches!((&away, &also), (Err(Error::Store(_)), Err(Error::Store(_)))), "{away:?} {also:?}");
    assert!(tasks.end(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn who_waits_when_the_process_ends_is_told_so() {
    let tasks = Tasks::default();
    let (history, epoch) = history(&tasks).await;
    let permits = history.makers.0.permits.acquire_many(2).await.unwrap();
    let asked = {
        let history = history.clone();
        async move { history.at(place(epoch, 0)).await }
    };
    let end = async {
        until(|| orders(&history) == 1).await;
        assert!(tasks.end(Duration::from_secs(5)).await);
    };
    let (asked, ()) = tokio::join!(asked, end);
    assert!(matches!(asked, Err(Error::Stopping)), "{asked:?}");
    drop(permits);
}
