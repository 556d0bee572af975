//! A database that is killed under changes: each change is made or refused in time, and when callers repeat what was
//! refused under its request id, everything they asked for is there in the end, and once.

use crate::chat::until_usable;
use proto::permissions::v1::{
    self as pb, Action, access_request_service_client::AccessRequestServiceClient, grant::Grantee,
    grant_service_client::GrantServiceClient, key_service_client::KeyServiceClient,
    user_service_client::UserServiceClient,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tests::{
    people,
    postgres::Private,
    rpc::{self, Authorized},
    suite::Suite,
};
use tokio::task::JoinSet;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

/// What each change has.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two changes of a kind, and before one is repeated.
const PAUSE: Duration = Duration::from_millis(20);
/// So many models, groups and people: grants and requests are of one each, and no pair comes twice.
const MANY: usize = 16;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    User,
    Key,
    Grant,
    Request,
}

const KINDS: [Kind; 4] = [Kind::User, Kind::Key, Kind::Grant, Kind::Request];

/// Who writes, and what there was before.
struct World {
    owner: Authorized,
    members: Vec<Authorized>,
    models: Vec<String>,
    groups: Vec<String>,
    stop: AtomicBool,
    refused: [AtomicUsize; KINDS.len()],
    /// The ids of what was acknowledged.
    made: Mutex<BTreeMap<(Kind, String), String>>,
}

impl World {
    async fn new(suite: &Suite) -> Self {
        let owner = suite.owner();
        until_usable(&owner).await;
        let (mut members, mut models, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..MANY {
            models.push(people::register(&owner, &format!("model-{number}")).await);
            groups.push(people::group(&owner, &format!("group-{number}")).await);
            let member = people::person(&owner, &format!("member-{number}")).await;
            members.push(rpc::channel(suite.address, &member.key).await);
        }
        let owner = rpc::channel(suite.address, &suite.first_run().api_key).await;
        let (stop, refused, made) = Default::default();
        Self { owner, members, models, groups, stop, refused, made }
    }

    /// The name by which a thing is found again.
    fn name(&self, kind: Kind, number: usize) -> String {
        match kind {
            Kind::User => format!("written-{number}@example.org"),
            Kind::Key => format!("written-{number}"),
            Kind::Grant => format!("{} on {}", self.groups[number / MANY], self.models[number % MANY]),
            Kind::Request => format!("request {number}"),
        }
    }

    /// Makes one thing, and returns its id.
    async fn make(&self, kind: Kind, number: usize, request_id: &str) -> Result<String, Status> {
        let (owner, request_id) = (self.owner.clone(), request_id.to_owned());
        let (name, model_id) = (self.name(kind, number), self.models[number % MANY].clone());
        match kind {
            Kind::User => {
                let email = name.clone();
                let request =
                    pb::CreateUserRequest { email, display_name: name, request_id, ..Default::default() };
                let answer = UserServiceClient::new(owner).create_user(timed(request)).await?;
                Ok(answer.into_inner().user.unwrap().user_id)
            }
            Kind::Key => {
                let request = pb::CreateKeyRequest { name, request_id, ..Default::default() };
                let answer = KeyServiceClient::new(owner).create_key(timed(request)).await?;
                Ok(answer.into_inner().key.unwrap().key_id)
            }
            Kind::Grant => {
                let grantee = Some(Grantee::GroupId(self.groups[number / MANY].clone()));
                let grant = pb::Grant { model_id, grantee, action: Action::Use.into(), ..Default::default() };
                let request = pb::CreateGrantRequest { grant: Some(grant), request_id, ..Default::default() };
                let answer = GrantServiceClient::new(owner).create_grant(timed(request)).await?;
                Ok(answer.into_inner().grant.unwrap().grant_id)
            }
            Kind::Request => {
                let justification = name;
                let request = pb::CreateAccessRequestRequest {
                    model_id,
                    justification,
                    request_id,
                    ..Default::default()
                };
                let mut client = AccessRequestServiceClient::new(self.members[number / MANY].clone());
                let answer = client.create_access_request(timed(request)).await?;
                Ok(answer.into_inner().access_request.unwrap().access_request_id)
            }
        }
    }

    /// Makes one thing after the other; what is refused is repeated as it was until it is acknowledged.
    async fn write_on(self: Arc<Self>, kind: Kind) {
        for number in 0..MANY * MANY {
            if self.stop.load(SeqCst) {
                return;
            }
            let request_id = Uuid::new_v4().to_string();
            let id = loop {
                match self.make(kind, number, &request_id).await {
                    Ok(id) => break id,
                    Err(refused) => assert_honest(kind, &refused),
                }
                self.refused[kind as usize].fetch_add(1, SeqCst);
                tokio::time::sleep(PAUSE).await;
            };
            self.made.lock().unwrap().insert((kind, self.name(kind, number)), id);
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn made(&self, kind: Kind) -> usize {
        self.made.lock().unwrap().keys().filter(|(made, _)| *made == kind).count()
    }

    /// Waits until of every kind so many more were made, or refused.
    async fn more(&self, what: &str, count: usize, of: impl Fn(&Self, Kind) -> usize) {
        let before = KINDS.map(|kind| of(self, kind));
        // A breaker looks for the database every 30 s, so this may take longer than other waits.
        let patience = 2 * tests::PATIENCE;
        let end = tokio::time::Instant::now() + patience;
        while KINDS.into_iter().zip(before).any(|(kind, before)| of(self, kind) < before + count) {
            let now = KINDS.map(|kind| of(self, kind));
            assert!(
                tokio::time::Instant::now() < end,
                "{what}: not within {patience:?}: {before:?}, {now:?}"
            );
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Everything there is of what was written, by name; what is there twice fails the test.
    async fn there(&self) -> BTreeMap<(Kind, String), String> {
        let mut found = BTreeMap::new();
        for (kind, name, id) in
            [self.users().await, self.keys().await, self.grants().await, self.requests().await]
                .into_iter()
                .flatten()
        {
            assert_eq!(found.insert((kind, name.clone()), id), None, "{kind:?} {name} is there twice");
        }
        found
    }

    async fn users(&self) -> Vec<(Kind, String, String)> {
        let (mut users, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = pb::ListUsersRequest { page_size: 100, page_token, ..Default::default() };
            let page =
                UserServiceClient::new(self.owner.clone()).list_users(request).await.unwrap().into_inner();
            let written = page.users.into_iter().filter(|user| user.email.starts_with("written-"));
            users.extend(written.map(|user| (Kind::User, user.email, user.user_id)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return users;
            }
        }
    }

    async fn keys(&self) -> Vec<(Kind, String, String)> {
        let (mut keys, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = pb::ListKeysRequest { page_size: 100, page_token, ..Default::default() };
            let page =
                KeyServiceClient::new(self.owner.clone()).list_keys(request).await.unwrap().into_inner();
            let written = page.keys.into_iter().filter(|key| key.name.starts_with("written-"));
            keys.extend(written.map(|key| (Kind::Key, key.name, key.key_id)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return keys;
            }
        }
    }

    async fn grants(&self) -> Vec<(Kind, String, String)> {
        let (mut grants, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = pb::ListGrantsRequest { page_size: 100, page_token, ..Default::default() };
            let page =
                GrantServiceClient::new(self.owner.clone()).list_grants(request).await.unwrap().into_inner();
            grants.extend(page.grants.into_iter().filter_map(|grant| {
                let Some(Grantee::GroupId(group)) = grant.grantee else { return None };
                Some((Kind::Grant, format!("{group} on {}", grant.model_id), grant.grant_id))
            }));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return grants;
            }
        }
    }

    async fn requests(&self) -> Vec<(Kind, String, String)> {
        let (mut requests, mut page_token) = (Vec::new(), String::new());
        loop {
            let view = pb::AccessRequestView::All.into();
            let request =
                pb::ListAccessRequestsRequest { page_size: 100, page_token, view, ..Default::default() };
            let mut client = AccessRequestServiceClient::new(self.owner.clone());
            let page = client.list_access_requests(request).await.unwrap().into_inner();
            let written = page.access_requests.into_iter();
            requests.extend(
                written.map(|request| (Kind::Request, request.justification, request.access_request_id)),
            );
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return requests;
            }
        }
    }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

/// The only refusal there may be; one that took too long would be another.
fn assert_honest(kind: Kind, refused: &Status) {
    assert_eq!(refused.code(), Code::Unavailable, "{kind:?}: {refused:?}");
    let delay = refused.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(delay.is_some_and(|delay| delay > Duration::ZERO), "{kind:?}: {refused:?}");
}

#[tokio::test]
async fn what_is_repeated_until_it_is_acknowledged_is_there_once() {
    let mut server = Private::start().await;
    let suite = Suite::start(&[("TOLLGATE_PERMISSIONS__DATABASE", &server.url())]).await;
    let world = Arc::new(World::new(&suite).await);
    let mut writers = JoinSet::new();
    for kind in KINDS {
        writers.spawn(Arc::clone(&world).write_on(kind));
    }
    let refused = |world: &World, kind: Kind| world.refused[kind as usize].load(SeqCst);
    for round in 0..2 {
        world.more(&format!("changes of every kind, round {round}"), 8, World::made).await;
        server.kill();
        world.more(&format!("refusals of every kind, round {round}"), 3, refused).await;
        server.start_again().await;
    }
    world.more("changes after the last start", 3, World::made).await;
    world.stop.store(true, SeqCst);
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    let made = world.made.lock().unwrap().clone();
    let there = world.there().await;
    assert!(made == there, "acknowledged: {made:#?}\nthere: {there:#?}");
    eprintln!(
        "{:?} made, {:?} refused before",
        KINDS.map(|kind| world.made(kind)),
        KINDS.map(|kind| refused(&world, kind))
    );
}
