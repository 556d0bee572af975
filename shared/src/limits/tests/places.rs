//! The same through a Redis Cluster, and through Sentinel while it puts a replica in the place of the primary.

use super::{person, requests, settings, storm, three};
use crate::{
    health::Health,
    redis::{
        Config,
        locks::{Asked, Locks},
        shelf::{Looked, Shelf},
        talk,
    },
    server::Tasks,
};
use bytes::Bytes;
use limits::Layer;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tests::{
    redis::{Cluster, Sentinel},
    until,
};

const HOUR: Duration = Duration::from_secs(3_600);

/// Locks and values in the same Redis.
struct Others {
    locks: Locks,
    shelf: Shelf,
}

impl Others {
    fn open(url: &str, tasks: &Tasks, health: &Health) -> Self {
        let config = Config { url: url.into() };
        let locks = Locks::open(&config, tasks, || health.component("locks", false));
        let shelf = Shelf::open(&config, "tollgate:answer:", tasks, || health.component("shelf", false));
        Self { locks, shelf: shelf.unwrap() }
    }

    /// Each lock is held by one at a time, and what is put there is found.
    async fn serve(&self, word: &str) {
        for number in 0..20 {
            let name = format!("{word}/{number}");
            let held = until("a lock", async || match self.locks.ask(&name, "a").await {
                Asked::Held(lock) => Some(lock),
                Asked::Taken | Asked::Unknown => None,
            })
            .await;
            until("a word about it", async || {
                matches!(self.locks.ask(&name, "b").await, Asked::Taken).then_some(())
            })
            .await;
            drop(held);
            until("it to be free", async || {
                matches!(self.locks.ask(&name, "c").await, Asked::Held(_)).then_some(())
            })
            .await;
            until("a value", async || {
                self.shelf.put(name.clone(), Bytes::from(name.clone()), HOUR);
                let found = self.shelf.get(&name, Duration::from_secs(1)).await;
                (found == Looked::Found(Bytes::from(name.clone()))).then_some(())
            })
            .await;
        }
    }
}

/// What is said in one process is heard in another.
async fn talks(url: &str, tasks: &Tasks, health: &Health) {
    let config = Config { url: url.into() };
    let heard = Arc::new(AtomicBool::new(false));
    let hears = Arc::clone(&heard);
    let component = || health.component("words", false);
    let hear = move |word: &[u8]| hears.store(word == b"said elsewhere", Ordering::Relaxed);
    let listener = talk(&config, "channel".to_owned(), tasks, component, hear);
    let speaker = talk(&config, "channel".to_owned(), tasks, component, |_| {}).unwrap();
    until("a word to be heard", async || {
        speaker.say(&b"said elsewhere"[..]);
        heard.load(Ordering::Relaxed).then_some(())
    })
    .await;
    drop(listener);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_shares_limits_locks_and_values() {
    let cluster = Cluster::start();
    let settings = settings(vec![requests(100, HOUR)]);
    let replicas = three(&cluster.url(), &settings).await;
    let mut allowed = storm(&replicas, 200).await;
    for _ in 0..20 {
        for replica in &replicas {
            replica.until_told().await;
        }
        allowed += storm(&replicas, 20).await;
    }
    assert!((100..=140).contains(&allowed), "{allowed}");
    // What is reset at one is reset at all.
    let names =
        replicas[0].gate.lock().clear(Layer::User, person(1).user.0.as_u128(), None, replicas[0].gate.now());
    assert!(replicas[0].gate.clear_everywhere(names));
    until("the others to forget it", async || (storm(&replicas, 1).await == 3).then_some(())).await;
    let (tasks, health) = (Tasks::default(), Health::default());
    Others::open(&cluster.url(), &tasks, &health).serve("doc").await;
    talks(&cluster.url(), &tasks, &health).await;
    let keys = cluster.keys();
    assert!(keys.iter().all(|keys| *keys > 0), "all nodes have some of them: {keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_in_the_place_of_the_primary_knows_what_was_used() {
    let mut sentinel = Sentinel::start();
    let settings = settings(vec![requests(50, HOUR)]);
    let replicas = three(&sentinel.url(), &settings).await;
    let (tasks, health) = (Tasks::default(), Health::default());
    let others = Others::open(&sentinel.url(), &tasks, &health);
    others.serve("before").await;
    let mut allowed = 0;
    for _ in 0..10 {
        allowed += storm(&replicas, 1).await;
        for replica in &replicas {
            replica.until_told().await;
        }
    }
    assert_eq!(allowed, 30);
    sentinel.fail_over();
    // It may have been noticed or not: in the end all share, and all know all of it.
    for replica in &replicas {
        until("all of it to be known", async || {
            let gate = &replica.gate;
            let (shared, seen) = (gate.is_shared(), gate.lock().seen(Layer::User, Some(1), gate.now()));
            (shared && seen.first()?.used >= 30).then_some(())
        })
        .await;
    }
    others.serve("after").await;
    talks(&sentinel.url(), &tasks, &health).await;
    for _ in 0..20 {
        allowed += storm(&replicas, 5).await;
        for replica in &replicas {
            until("everything to be told", async || (!replica.gate.lock().has_news()).then_some(())).await;
        }
    }
    // A lease is a fifth.
    assert!((50..=70).contains(&allowed), "{allowed}");
}
