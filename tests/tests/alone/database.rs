//! A database that freezes, then dies, under load, and comes back (P9): changes are refused in time and with the time
//! to come back, checks and inference go on from memory, and what was acknowledged is there afterwards.

use crate::chat::{CHAT, chat, until_usable};
use proto::permissions::v1::{
    CreateGroupRequest, ListGroupsRequest, group_service_client::GroupServiceClient,
};
use serde_json::json;
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tests::{
    http::Client,
    ledger, people,
    postgres::Private,
    rpc::{self, Authorized},
    suite::{MODEL, Suite},
    until,
};
use tokio::task::JoinSet;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

/// What each change has.
const DEADLINE: Duration = Duration::from_secs(10);
const WRITERS: usize = 4;

/// What callers saw.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    /// Names of groups whose creation was acknowledged.
    made: Mutex<BTreeSet<String>>,
    /// Changes refused, and those of them that were told to wait for the breaker.
    refused: AtomicUsize,
    held_off: AtomicUsize,
    checked: AtomicUsize,
    stale: AtomicUsize,
    answered: AtomicUsize,
}

impl Seen {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    fn count(&self, of: fn(&Self) -> &AtomicUsize) -> usize {
        of(self).load(Ordering::SeqCst)
    }

    /// Waits for so many more.
    async fn more(&self, what: &str, of: fn(&Self) -> &AtomicUsize, count: usize) {
        let before = self.count(of);
        until(what, async || (self.count(of) >= before + count).then_some(())).await;
    }
}

/// A refusal that says honestly when to come back.
fn assert_unavailable(refused: &Status) -> Duration {
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let reason = refused.get_details_error_info().unwrap().reason;
    assert_eq!(reason, "STORE_UNAVAILABLE");
    refused.get_details_retry_info().unwrap().retry_delay.unwrap()
}

async fn create_group(channel: &Authorized, name: &str) -> Result<(), Status> {
    let mut request = Request::new(CreateGroupRequest { name: name.to_owned(), ..Default::default() });
    request.set_timeout(DEADLINE);
    GroupServiceClient::new(channel.clone()).create_group(request).await.map(drop)
}

/// Changes one thing after the other; every refusal must be the honest one.
async fn change(channel: Authorized, writer: usize, seen: Arc<Seen>) {
    for number in 0.. {
        if !seen.goes_on() {
            return;
        }
        let name = format!("group-{writer}-{number}");
        match create_group(&channel, &name).await {
            Ok(()) => {
                seen.made.lock().unwrap().insert(name);
            }
            Err(refused) => {
                if assert_unavailable(&refused) > Duration::from_secs(2) {
                    seen.held_off.fetch_add(1, Ordering::SeqCst);
                }
                seen.refused.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Asks whether the owner may use the model; there must always be an answer.
async fn check(owner: Client, seen: Arc<Seen>) {
    let question = json!({"model_name": MODEL, "action": "ACTION_USE"});
    while seen.goes_on() {
        let answer = owner.post("/api/v1/permissions:check", &question).await.data();
        assert_eq!(answer["verdict"], "VERDICT_ALLOWED", "{answer}");
        seen.checked.fetch_add(1, Ordering::SeqCst);
        if answer["stale"] == true {
            seen.stale.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Sends chats; every one must be answered.
async fn infer(owner: Client, seen: Arc<Seen>) {
    while seen.goes_on() {
        let _ = owner.post(CHAT, &chat(2, 2)).await.ok();
        seen.answered.fetch_add(1, Ordering::SeqCst);
    }
}

/// Names of all groups there are.
async fn groups(channel: &Authorized) -> BTreeSet<String> {
    let (mut names, mut page_token) = (BTreeSet::new(), String::new());
    loop {
        let request = ListGroupsRequest { page_size: 100, page_token, ..Default::default() };
        let page = GroupServiceClient::new(channel.clone()).list_groups(request).await.unwrap().into_inner();
        names.extend(page.groups.into_iter().map(|group| group.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return names;
        }
    }
}

/// Waits until a service uses its database again. Breakers probe every 30 s, so this takes longer than other waits.
async fn recovered<E: std::fmt::Debug>(what: &str, mut attempt: impl AsyncFnMut(usize) -> Result<(), E>) {
    for number in 0.. {
        match attempt(number).await {
            Ok(()) => return,
            Err(error) => assert!(number < 400, "{what} does not recover: {error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

#[tokio::test]
async fn a_database_that_freezes_dies_and_returns_costs_no_answer_from_memory_and_no_acknowledged_change() {
    let mut server = Private::start().await;
    let url = server.url();
    let suite =
        Suite::start(&[("TOLLGATE_PERMISSIONS__DATABASE", &url), ("TOLLGATE_MONITORING__DATABASE", &url)])
            .await;
    let owner = suite.owner();
    until_usable(&owner).await;
    let channel = rpc::channel(suite.address, &suite.first_run().api_key).await;
    let before = ledger::records(&owner).await.len();

    let (seen, mut load) = (Arc::new(Seen::default()), JoinSet::new());
    for writer in 0..WRITERS {
        load.spawn(change(channel.clone(), writer, Arc::clone(&seen)));
    }
    load.spawn(check(owner.clone(), Arc::clone(&seen)));
    load.spawn(infer(owner.clone(), Arc::clone(&seen)));
    until("some changes", async || (seen.made.lock().unwrap().len() >= 30).then_some(())).await;

    server.freeze();
    // A read that nothing else holds up is told within the little time that it has.
    let mut request = Request::new(ListGroupsRequest::default());
    request.set_timeout(Duration::from_secs(2));
    let refused = GroupServiceClient::new(channel.clone()).list_groups(request).await.unwrap_err();
    assert_unavailable(&refused);
    seen.more("a refused change while it is frozen", |seen| &seen.refused, WRITERS).await;
    server.kill();
    seen.more("changes held off by the breaker", |seen| &seen.held_off, 20).await;
    seen.more("stale answers", |seen| &seen.stale, 20).await;
    seen.more("inference without a database", |seen| &seen.answered, 20).await;
    let opened = suite.metric("tollgate_db_breaker_opened_total", "service=\"permissions\"").await;
    assert!(opened >= 1.0, "the breaker opened");
    let standing = suite.metric("tollgate_db_breaker_state", "service=\"permissions\"").await;
    assert!(standing > 0.0, "the breaker is not closed");

    server.start_again().await;
    recovered("permissions", async |number| {
        create_group(&channel, &format!("after-{number}"))
            .await
            .inspect_err(|refused| assert!(assert_unavailable(refused) > Duration::ZERO))
    })
    .await;
    recovered("monitoring", async |_| {
        let answer = owner.get("/api/v1/usage/records?page_size=1").await;
        if answer.status == 200 { Ok(()) } else { Err(answer) }
    })
    .await;
    seen.stop.store(true, Ordering::SeqCst);
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }

    let made = seen.made.lock().unwrap().clone();
    let there = groups(&channel).await;
    assert!(made.is_subset(&there), "lost: {:?}", made.difference(&there).collect::<Vec<_>>());
    people::group(&owner, "afterwards").await;
    let question = json!({"model_name": MODEL, "action": "ACTION_USE"});
    let answer = owner.post("/api/v1/permissions:check", &question).await.data();
    assert_ne!(answer["stale"], true, "answers are fresh again");
    ledger::at_least(&owner, before + seen.count(|seen| &seen.answered)).await;
    eprintln!(
        "{} changes acknowledged, {} refused; {} checks, {} of them stale; {} chats",
        made.len(),
        seen.count(|seen| &seen.refused),
        seen.count(|seen| &seen.checked),
        seen.count(|seen| &seen.stale),
        seen.count(|seen| &seen.answered),
    );
}
