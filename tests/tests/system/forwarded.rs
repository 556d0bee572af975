//! Calls that one gateway runs for the callers of another: who leaves frees the engine at the owner, and the owner knows
//! the caller's deadline, over HTTP and gRPC, plainly and over mutual TLS.

use crate::chat::{CHAT, chat, streamed, until_usable};
use http::Request;
use prost_types::{Struct, Value, value::Kind};
use proto::inference::v1::{
    InferRequest, InferStreamRequest, Prompt, inference_service_client::InferenceServiceClient,
};
use tempfile::TempDir;
use tests::{
    authority::Authority,
    engine::Engine,
    gateways::Gateways,
    http::{Body, Client},
    ledger::{self, Record},
    people,
    rpc::Authorized,
    suite::MODEL,
    tls::Tls,
    until, within,
};
use tokio::time::Duration;

/// Tokens that would take longer than any test.
const ENDLESS: u32 = 4_000;
/// Who owns the engine, and who has nothing but callers.
const OWNER: usize = 0;
const OTHER: usize = 1;
/// Time enough for a call to reach the engine.
const DEADLINE: Duration = Duration::from_secs(6);

struct Scene {
    gateways: Gateways,
    engine: Engine,
    _folder: TempDir,
}

impl Scene {
    async fn plain() -> Self {
        let engine = Engine::start("--max-num-seqs 1").await;
        let settings = [("TOLLGATE_INFERENCE__ENGINE__MAX_IN_FLIGHT", "1")];
        let gateways = Gateways::start(&[1e9, 1.0], &[&engine.url], &settings).await;
        Self::of(gateways, engine, TempDir::new().unwrap()).await
    }

    /// Everybody shows a certificate.
    async fn secured() -> Self {
        let (folder, authority) = (TempDir::new().unwrap(), Authority::new("Tollgate tests"));
        let ca = authority.write(folder.path(), "ca").display().to_string();
        let own = authority.issue(&["127.0.0.1"]).write(folder.path(), "service");
        let (certificate, key) = (own.certificate.display().to_string(), own.key.display().to_string());
        let settings = [
            ("TOLLGATE_TLS__CERT_FILE", certificate.as_str()),
            ("TOLLGATE_TLS__KEY_FILE", &key),
            ("TOLLGATE_TLS__CLIENT_CA_FILE", &ca),
            ("TOLLGATE_TLS__SERVICES__CA_FILE", &ca),
            ("TOLLGATE_TLS__SERVICES__CERT_FILE", &certificate),
            ("TOLLGATE_TLS__SERVICES__KEY_FILE", &key),
            ("TOLLGATE_INFERENCE__ENGINE__MAX_IN_FLIGHT", "1"),
        ];
        let engine = Engine::start("--max-num-seqs 1").await;
        let tls = Tls::of(&authority).with(&authority.issue(&["a-client"]));
        let gateways = Gateways::over(&tls, &[1e9, 1.0], &[&engine.url], &settings).await;
        Self::of(gateways, engine, folder).await
    }

    async fn of(gateways: Gateways, engine: Engine, folder: TempDir) -> Self {
        people::register(&gateways.apart.owner(), MODEL).await;
        for number in [OWNER, OTHER] {
            until_usable(&gateways.client(number)).await;
        }
        assert_eq!(gateways.owned(OWNER).await, 1);
        Self { gateways, engine, _folder: folder }
    }

    fn caller(&self) -> Client {
        self.gateways.client(OTHER)
    }

    async fn grpc(&self) -> InferenceServiceClient<Authorized> {
        InferenceServiceClient::new(self.gateways.channel(OTHER).await)
    }

    /// The engine is idle, and the owner's place is free: its next call is answered.
    async fn is_free(&self) {
        self.engine.until_load((0, 0)).await;
        let _ = self.caller().post(CHAT, &chat(1, 1)).await.ok();
    }

    /// How the calls ended that were left, in the ledger, once there are so many.
    async fn left(&self, count: usize) -> Vec<String> {
        let owner = self.gateways.apart.owner();
        let not_finished = |record: &Record| record.end() != "finished";
        until("what was left in the ledger", async || {
            let records = ledger::records(&owner).await;
            let left: Vec<String> =
                records.iter().filter(|record| not_finished(record)).map(Record::end).collect();
            (left.len() >= count).then_some(left)
        })
        .await
    }

    /// Calls that were passed on and answered.
    async fn passed_on(&self) -> u64 {
        self.gateways.metric(OTHER, "tollgate_gateway_forwarded_total", "answered").await
    }
}

fn prompt() -> Option<Prompt> {
    let yes = Value { kind: Some(Kind::BoolValue(true)) };
    let extra = Some(Struct { fields: [("ignore_eos".to_owned(), yes)].into() });
    let (model, text) = (MODEL.to_owned(), "w1 w2".to_owned());
    Some(Prompt { model, text, max_tokens: Some(ENDLESS), extra, ..Prompt::default() })
}

/// A stream over each protocol, left in the middle.
async fn streams_are_left(scene: &Scene) {
    let mut stream = scene.caller().stream(CHAT, &streamed(5, ENDLESS.into())).await;
    for _ in 0..3 {
        stream.next().await.unwrap();
    }
    drop(stream);
    scene.is_free().await;

    let request = InferStreamRequest { prompt: prompt(), ..InferStreamRequest::default() };
    let mut stream = scene.grpc().await.infer_stream(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    drop(stream);
    scene.is_free().await;
}

/// A call over each protocol, left while its whole answer is made.
async fn whole_answers_are_left(scene: &Scene) {
    let (caller, body) = (scene.caller(), chat(5, ENDLESS.into()));
    tokio::select! {
        answer = caller.post(CHAT, &body) => panic!("answered too soon: {}", answer.text()),
        () = scene.engine.until_load((1, 0)) => {}
    }
    scene.is_free().await;

    let mut grpc = scene.grpc().await;
    tokio::select! {
        answer = grpc.infer(InferRequest { prompt: prompt(), ..InferRequest::default() }) => {
            panic!("answered too soon: {answer:?}")
        }
        () = scene.engine.until_load((1, 0)) => {}
    }
    scene.is_free().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_frees_the_engine_at_the_owner() {
    let scene = Scene::plain().await;
    let before = scene.passed_on().await;
    streams_are_left(&scene).await;
    whole_answers_are_left(&scene).await;
    assert_eq!(scene.left(4).await, ["cancelled estimated"; 4]);
    assert!(scene.passed_on().await >= before + 6, "two streams, and the calls that followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_while_waiting_leaves_the_owners_queue() {
    let scene = Scene::plain().await;
    let mut running = scene.gateways.client(OWNER).stream(CHAT, &streamed(5, ENDLESS.into())).await;
    running.next().await.unwrap();
    let queued = async |count: u64| {
        until("the length of the owner's queue", async || {
            (scene.gateways.metric(OWNER, "tollgate_queue_requests", "").await == count).then_some(())
        })
        .await;
    };
    let (caller, body) = (scene.caller(), chat(7, 7));
    let mut grpc = scene.grpc().await;
    tokio::select! {
        answer = caller.post(CHAT, &body) => panic!("answered out of turn: {}", answer.text()),
        answer = grpc.infer(InferRequest { prompt: prompt(), ..InferRequest::default() }) => {
            panic!("answered out of turn: {answer:?}")
        }
        () = queued(2) => {}
    }
    queued(0).await;
    drop(running);
    scene.is_free().await;
    assert_eq!(scene.left(1).await, ["cancelled estimated"], "who never had their turn is in no ledger");
}

/// A call with a deadline, while the gateway that passed it on can do nothing more for it.
async fn the_owner_ends_it_by_itself(scene: &Scene, call: impl Future<Output = ()>) {
    let other = &scene.gateways.running[OTHER].process;
    let stopped = async {
        scene.engine.until_load((1, 0)).await;
        other.signal("STOP");
        scene.engine.until_load((0, 0)).await;
        other.signal("CONT");
    };
    within("a call and its deadline", async { tokio::join!(call, stopped) }).await;
}

async fn deadlines_are_known_to_the_owner(scene: &Scene) {
    let caller = scene.caller();
    let over_http = async {
        let mut request: Request<Body> = caller.with_json("POST", CHAT, &chat(5, ENDLESS.into()));
        let timeout = format!("{}S", DEADLINE.as_secs());
        request.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
        let (status, code, _) = caller.send(request).await.openai_error();
        assert_eq!((status, code.as_str()), (408, "deadline_exceeded"));
    };
    Box::pin(the_owner_ends_it_by_itself(scene, over_http)).await;
    scene.is_free().await;

    let mut grpc = scene.grpc().await;
    let over_grpc = async {
        let mut request = tonic::Request::new(InferRequest { prompt: prompt(), ..InferRequest::default() });
        request.set_timeout(DEADLINE);
        grpc.infer(request).await.unwrap_err();
    };
    Box::pin(the_owner_ends_it_by_itself(scene, over_grpc)).await;
    scene.is_free().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_knows_the_deadline_of_a_call() {
    deadlines_are_known_to_the_owner(&Scene::plain().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_trust_each_other_over_mutual_tls() {
    let scene = Scene::secured().await;
    let before = scene.passed_on().await;
    streams_are_left(&scene).await;
    whole_answers_are_left(&scene).await;
    deadlines_are_known_to_the_owner(&scene).await;
    assert!(scene.passed_on().await >= before + 8);
    let address = scene.gateways.running[OWNER].address;
    let plain = Client::new(address, Some(&scene.gateways.apart.first_run().api_key));
    assert!(plain.try_send(plain.request("GET", "/v1/models")).await.is_err(), "nobody comes in plainly");
}
