//! A steady load of inferences that must all be answered: some callers show an API key, others are signed in, and each
//! takes every way in, one after the other.
//!
//! Requests carry ids, so that what was answered can be held against the ledger afterwards.

use crate::{
    apart::{Apart, Role},
    http::{Body, Client},
    ledger::{self, Record},
    people, rpc,
    session::Session,
    suite::MODEL,
    until,
};
use proto::inference::v1::{InferRequest, Prompt, inference_service_client::InferenceServiceClient};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{sync::RwLock, task::JoinSet};
use tonic::{Request, transport::Channel};

/// Where inferences are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Doors {
    /// The edge: OpenAI's routes, and REST for the methods of the contract.
    pub edge: SocketAddr,
    /// A gateway's own port, for gRPC.
    pub gateway: SocketAddr,
}

/// What a caller shows.
#[derive(Debug)]
pub enum Holder {
    /// An API key.
    Key(String),
    /// The access token of a session.
    Session(Session),
}

impl Holder {
    /// What is shown now.
    #[must_use]
    pub fn credential(&self) -> &str {
        match self {
            Self::Key(key) => key,
            Self::Session(session) => session.access(),
        }
    }

    fn key(&self) -> Option<String> {
        match self {
            Self::Key(key) => Some(key.clone()),
            Self::Session(_) => None,
        }
    }
}

/// The doors of services that run apart.
#[must_use]
pub fn doors(apart: &Apart) -> Doors {
    Doors { edge: apart.address(Role::Edge), gateway: apart.address(Role::Inference) }
}

/// Registers the model, and makes so many people who may use it: each has a key, and is signed in.
pub async fn holders(apart: &Apart, people: usize) -> Vec<Holder> {
    let owner = apart.owner();
    let model = people::register(&owner, MODEL).await;
    let mut holders = Vec::new();
    for number in 0..people {
        let name = format!("person-{number}");
        let person = people::person(&owner, &name).await;
        people::grant(&owner, &model, &json!({"user_id": person.id})).await;
        let path = format!("/api/v1/users/{}:setPassword", person.id);
        let _ = owner.post(&path, &json!({"new_password": PASSWORD})).await.data();
        holders.push(Holder::Key(person.key));
        let door = Client::new(apart.address(Role::Edge), None);
        let session = Session::open(door, &format!("{name}@example.org"), PASSWORD).await;
        holders.push(Holder::Session(session));
    }
    holders
}

const PASSWORD: &str = "correct horse battery";

/// The ways in.
const WAYS: [&str; 4] = ["chat", "stream", "rest", "grpc"];

/// The load.
#[derive(Debug)]
pub struct Steady {
    seen: Arc<Seen>,
    callers: JoinSet<()>,
}

/// What came of it so far.
#[derive(Debug, Default)]
pub struct Seen {
    stop: AtomicBool,
    /// Held for writing while nobody may renew a token.
    renewing: RwLock<()>,
    keys: Vec<Option<String>>,
    by_caller: Vec<AtomicUsize>,
    by_way: [AtomicUsize; WAYS.len()],
    ids: Mutex<BTreeSet<String>>,
    refused: Mutex<Vec<String>>,
    overdue: AtomicUsize,
    renewed: AtomicUsize,
    not_renewed: AtomicUsize,
}

impl Steady {
    /// Begins; each caller rests for `pause` after each answer.
    pub async fn start(doors: Doors, holders: Vec<Holder>, pause: Duration) -> Self {
        let by_caller = holders.iter().map(|_| AtomicUsize::default()).collect();
        let keys = holders.iter().map(Holder::key).collect();
        let seen = Arc::new(Seen { by_caller, keys, ..Seen::default() });
        let mut callers = JoinSet::new();
        for (number, holder) in holders.into_iter().enumerate() {
            let channel = rpc::plain(doors.gateway).await;
            let caller = Caller { number, holder, doors, channel, seen: Arc::clone(&seen) };
            callers.spawn(caller.call_on(pause));
        }
        Self { seen, callers }
    }

    /// What came of it so far.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Waits until every caller has been answered so often again, and fails as soon as one is refused.
    pub async fn more(&self, count: usize) {
        let before: Vec<_> = self.seen.by_caller.iter().map(|answered| answered.load(SeqCst)).collect();
        until(&format!("{count} more answers for every caller"), async || {
            self.seen.assert_none_refused();
            let mut both = self.seen.by_caller.iter().zip(&before);
            both.all(|(now, before)| now.load(SeqCst) >= before + count).then_some(())
        })
        .await;
    }

    /// Waits until so many more were answered that showed a token past its end.
    pub async fn more_overdue(&self, count: usize) {
        let before = self.seen.overdue();
        until(&format!("{count} more answers to tokens past their end"), async || {
            self.seen.assert_none_refused();
            (self.seen.overdue() >= before + count).then_some(())
        })
        .await;
    }

    /// Does something while nobody renews a token: the answer to that must not be lost, because the old refresh token
    /// works no more then.
    pub async fn while_none_renews<T>(&self, act: impl AsyncFnOnce() -> T) -> T {
        let _held = self.seen.renewing.write().await;
        act().await
    }

    /// Ends, and returns what came of it.
    pub async fn end(mut self) -> Arc<Seen> {
        self.seen.stop.store(true, SeqCst);
        while let Some(ended) = self.callers.join_next().await {
            ended.unwrap();
        }
        self.seen
    }
}

impl Seen {
    /// How many were answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.by_caller.iter().map(|answered| answered.load(SeqCst)).sum()
    }

    /// How many of those showed an API key.
    #[must_use]
    pub fn answered_to_keys(&self) -> usize {
        let both = self.by_caller.iter().zip(&self.keys);
        both.filter(|(_, key)| key.is_some()).map(|(answered, _)| answered.load(SeqCst)).sum()
    }

    /// The API key of one of the callers.
    #[must_use]
    pub fn a_key(&self) -> String {
        self.keys.iter().flatten().next().unwrap().clone()
    }

    /// How many were answered, by the way they took.
    #[must_use]
    pub fn by_way(&self) -> BTreeMap<&'static str, usize> {
        WAYS.into_iter().zip(self.by_way.iter().map(|answered| answered.load(SeqCst))).collect()
    }

    /// How many of those showed a token past its end.
    #[must_use]
    pub fn overdue(&self) -> usize {
        self.overdue.load(SeqCst)
    }

    /// How often tokens were renewed, and how often there was nobody to do it.
    #[must_use]
    pub fn renewals(&self) -> (usize, usize) {
        (self.renewed.load(SeqCst), self.not_renewed.load(SeqCst))
    }

    /// What was refused, and how.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        self.refused.lock().unwrap().clone()
    }

    /// Fails with the first refusals when there is any.
    pub fn assert_none_refused(&self) {
        let refused = self.refused();
        assert!(refused.is_empty(), "{} refused: {:#?}", refused.len(), &refused[..refused.len().min(5)]);
    }

    /// Waits until every answered request is in the ledger, finished and once, and nothing else of ours is.
    pub async fn assert_recorded(&self, reader: &Client) {
        let wanted = self.ids.lock().unwrap().clone();
        let mut found = BTreeMap::new();
        until("every answered request in the ledger", async || {
            let ours = ledger::records(reader).await.into_iter();
            found = ledger::by_request(ours.filter(|record| record.request_id.starts_with(ID)).collect());
            (found.len() >= wanted.len()).then_some(())
        })
        .await;
        let unfinished: Vec<&Record> = found.values().filter(|record| record.end() != "finished").collect();
        assert!(unfinished.is_empty(), "{unfinished:?}");
        assert!(found.keys().eq(wanted.iter()), "the ledger has other requests than were answered");
    }
}

/// How ids of these requests begin.
const ID: &str = "steady-";

struct Caller {
    number: usize,
    holder: Holder,
    doors: Doors,
    channel: Channel,
    seen: Arc<Seen>,
}

impl Caller {
    async fn call_on(mut self, pause: Duration) {
        for number in self.number.. {
            if self.seen.stop.load(SeqCst) {
                return;
            }
            let way = number % WAYS.len();
            let id = format!("{ID}{}-{number}", self.number);
            let overdue = self.renew().await;
            match self.ask(WAYS[way], &id).await {
                Ok(()) => {
                    self.seen.ids.lock().unwrap().insert(id);
                    self.seen.by_way[way].fetch_add(1, SeqCst);
                    self.seen.overdue.fetch_add(usize::from(overdue), SeqCst);
                    self.seen.by_caller[self.number].fetch_add(1, SeqCst);
                }
                Err(how) => self.seen.refused.lock().unwrap().push(format!("{} {id}: {how}", WAYS[way])),
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Renews a token that is due. Returns whether what is shown is past its end all the same.
    async fn renew(&mut self) -> bool {
        let Holder::Session(session) = &mut self.holder else { return false };
        if session.is_due() {
            let _held = self.seen.renewing.read().await;
            let count = if session.renew().await { &self.seen.renewed } else { &self.seen.not_renewed };
            count.fetch_add(1, SeqCst);
        }
        session.is_over()
    }

    async fn ask(&self, way: &str, id: &str) -> Result<(), String> {
        match way {
            "chat" => self.post("/v1/chat/completions", id, &chat(false)).await,
            "stream" => self.stream(id).await,
            "rest" => self.post("/api/v1/inference:infer", id, &json!({"prompt": prompt()})).await,
            _ => self.call(id).await,
        }
    }

    fn request(&self, path: &str, id: &str, body: &Value) -> http::Request<Body> {
        let client = Client::new(self.doors.edge, Some(self.holder.credential()));
        let mut request = client.with_json("POST", path, body);
        request.headers_mut().insert("x-request-id", id.parse().unwrap());
        request
    }

    async fn post(&self, path: &str, id: &str, body: &Value) -> Result<(), String> {
        let client = Client::new(self.doors.edge, None);
        let answer =
            client.try_send(self.request(path, id, body)).await.map_err(|error| error.to_string())?;
        if answer.status == 200 { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text())) }
    }

    async fn stream(&self, id: &str) -> Result<(), String> {
        let client = Client::new(self.doors.edge, None);
        let request = self.request("/v1/chat/completions", id, &chat(true));
        let mut stream = client.try_stream(request).await.map_err(|error| error.to_string())?;
        let events = stream.all().await;
        let whole = stream.status == 200 && events.last().is_some_and(|last| last == "[DONE]");
        if whole { Ok(()) } else { Err(format!("{} {events:?}", stream.status)) }
    }

    async fn call(&self, id: &str) -> Result<(), String> {
        let prompt =
            Prompt { model: MODEL.into(), text: "w1 w2".into(), max_tokens: Some(2), ..Prompt::default() };
        let mut request = Request::new(InferRequest { prompt: Some(prompt), ..InferRequest::default() });
        let bearer = format!("Bearer {}", self.holder.credential());
        request.metadata_mut().insert("authorization", bearer.parse().unwrap());
        request.metadata_mut().insert("x-request-id", id.parse().unwrap());
        let mut client = InferenceServiceClient::new(self.channel.clone());
        client.infer(request).await.map(drop).map_err(|status| status.to_string())
    }
}

fn chat(stream: bool) -> Value {
    json!({
        "model": MODEL, "messages": [{"role": "user", "content": "w1 w2"}],
        "max_tokens": 2, "ignore_eos": true, "stream": stream,
    })
}

fn prompt() -> Value {
    json!({"model": MODEL, "text": "w1 w2", "max_tokens": 2})
}
