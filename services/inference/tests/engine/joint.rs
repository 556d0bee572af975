//! Texts of several callers in one call for their vectors: who shares it, what each is told and billed, and what becomes
//! of the others when one of them leaves or is wrong.

use crate::{client::Answer, engine::Engine, gateway::Gateway, refusals::error, soon, until};
use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::future::join_all;
use http::StatusCode;
use proto::{inference::v1::EngineState, monitoring::v1::Outcome};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::sync::{Semaphore, watch};

/// An engine that lets calls end when it is told to, and remembers them.
#[derive(Debug, Clone)]
struct Patient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The inputs of all calls, in the order in which they came.
    calls: Mutex<Vec<Value>>,
    /// How many have come, and how many have gone without an answer.
    came: watch::Sender<usize>,
    left: watch::Sender<usize>,
    /// As many calls are answered.
    turns: Semaphore,
    /// What it says instead, and to how many texts at least.
    says: Mutex<Option<(StatusCode, usize)>>,
    counted: Mutex<Vec<Value>>,
    /// What it adds to its counts.
    more: u64,
}

/// A call that nobody waits for any more.
struct Left(Option<Patient>);

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(engine) = self.0.take() {
            engine.0.left.send_modify(|left| *left += 1);
        }
    }
}

impl Patient {
    async fn start(more: u64) -> (Self, Engine) {
        let patient = Self(Arc::new(Inner {
            calls: Mutex::default(),
            came: watch::Sender::new(0),
            left: watch::Sender::new(0),
            turns: Semaphore::new(0),
            says: Mutex::default(),
            counted: Mutex::default(),
            more,
        }));
        let models = Json(json!({"object": "list", "data": [{"id": "tiny", "object": "model"}]}));
        let routes = Router::new()
            .route("/v1/models", get(move || std::future::ready(models.clone())))
            .route("/v1/embeddings", post(Self::embed))
            .route("/v1/completions", post(Self::complete))
            .route("/tokenize", post(Self::count))
            .with_state(patient.clone());
        (patient, Engine::recorded("tiny", routes).await)
    }

    /// Waits for its turn, and notes when its caller leaves before.
    async fn turn(&self, asked: &Value) {
        self.0.calls.lock().unwrap().push(asked.clone());
        self.0.came.send_modify(|came| *came += 1);
        let mut left = Left(Some(self.clone()));
        self.0.turns.acquire().await.unwrap().forget();
        left.0 = None;
    }

    async fn embed(State(engine): State<Self>, Json(asked): Json<Value>) -> Response {
        let texts = asked["input"].as_array().cloned().unwrap_or_else(|| vec![asked["input"].clone()]);
        engine.turn(&asked["input"]).await;
        let says = *engine.0.says.lock().unwrap();
        let wrong = texts.iter().any(|text| text == "wrong").then_some((StatusCode::BAD_REQUEST, 0));
        if let Some((status, least)) = wrong.or(says)
            && texts.len() >= least
        {
            let error = json!({"error": {"message": "no", "type": "BadRequestError", "param": null, "code": status.as_u16()}});
            return (status, Json(error)).into_response();
        }
        let tokens: u64 = texts.iter().map(words).sum();
        let data = texts.iter().enumerate();
        let data: Vec<_> = data.map(|(index, text)| json!({"index": index, "embedding": [text]})).collect();
        let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
        let answer =
            json!({"id": "e", "object": "list", "created": 7, "model": "tiny", "data": data, "usage": usage});
        Json(answer).into_response()
    }

    async fn complete(State(engine): State<Self>, Json(asked): Json<Value>) -> Json<Value> {
        engine.turn(&asked["prompt"]).await;
        let prompts = asked["prompt"].as_array().map_or(1, Vec::len) as u64;
        let choices: Vec<_> = (0..prompts).map(|index| json!({"index": index, "text": "x"})).collect();
        let usage =
            json!({"prompt_tokens": 2 * prompts, "completion_tokens": prompts, "total_tokens": 3 * prompts});
        Json(json!({"id": "c", "object": "text_completion", "choices": choices, "usage": usage}))
    }

    async fn count(State(engine): State<Self>, Json(asked): Json<Value>) -> Json<Value> {
        engine.0.counted.lock().unwrap().push(asked["prompt"].clone());
        Json(json!({"count": words(&asked["prompt"]) + engine.0.more, "max_model_len": 4096, "tokens": []}))
    }

    /// Waits until so many calls have come.
    async fn came(&self, calls: usize) {
        soon("calls to come", self.0.came.subscribe().wait_for(|came| *came >= calls)).await.unwrap();
    }

    /// Waits until it was asked for the tokens of so many texts.
    async fn counted(&self, texts: usize) {
        until("texts to be counted", async || (self.0.counted.lock().unwrap().len() >= texts).then_some(()))
            .await;
    }

    fn answer(&self, calls: usize) {
        self.0.turns.add_permits(calls);
    }

    fn calls(&self) -> Vec<Value> {
        self.0.calls.lock().unwrap().clone()
    }
}

/// Tokens: those of a list of them, else words.
fn words(text: &Value) -> u64 {
    match text {
        Value::Array(tokens) => tokens.len() as u64,
        text => text.as_str().unwrap().split_whitespace().count() as u64,
    }
}

async fn embed(gateway: &Gateway, input: &Value) -> Answer {
    gateway.post("/v1/embeddings", &json!({"input": input})).await
}

/// The vectors of an answer, and the tokens that it says.
async fn told(answer: Answer) -> (Vec<Value>, u64) {
    assert_eq!(answer.status, StatusCode::OK);
    let body = answer.json().await;
    let data = body["data"].as_array().unwrap();
    for (place, vector) in data.iter().enumerate() {
        assert_eq!(vector["index"], place);
    }
    let vectors = data.iter().map(|vector| vector["embedding"][0].clone()).collect();
    assert_eq!(body["usage"]["prompt_tokens"], body["usage"]["total_tokens"]);
    (vectors, body["usage"]["prompt_tokens"].as_u64().unwrap())
}

fn list(input: &Value) -> Vec<Value> {
    match input {
        Value::Array(texts) if texts.iter().any(|text| !text.is_number()) => texts.clone(),
        one => vec![one.clone()],
    }
}

/// Inputs of several callers: texts, lists of them, tokens.
fn inputs() -> Vec<Value> {
    vec![json!("a b"), json!(["c", "d e f"]), json!([1, 2, 3, 4]), json!([[5, 6], [7]]), json!("g")]
}

#[tokio::test]
async fn whoever_comes_while_a_call_is_under_way_shares_the_next_and_pays_for_their_own() {
    let (patient, engine) = Patient::start(0).await;
    let gateway = Gateway::open(&[&engine]).await;
    let beginning = json!("first of all");
    let first = embed(&gateway, &beginning);
    let others = async {
        patient.came(1).await;
        let inputs = inputs();
        let all = join_all(inputs.iter().map(|input| embed(&gateway, input)));
        let end = async {
            // Of three texts it is not known how many tokens they have.
            patient.counted(4).await;
            until("all to wait", async || (gateway.in_flight(&engine).await == 6).then_some(())).await;
            patient.answer(2);
        };
        tokio::join!(all, end).0
    };
    let (first, others) = tokio::join!(first, others);
    assert_eq!(told(first).await, (vec![json!("first of all")], 3));
    let calls = patient.calls();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert_eq!(calls[1].as_array().unwrap().len(), 7, "{calls:?}");
    let mut billed = Vec::new();
    for (input, answer) in inputs().iter().zip(others) {
        let (vectors, tokens) = told(answer).await;
        assert_eq!((&vectors, tokens), (&list(input), list(input).iter().map(words).sum()), "{input}");
        billed.push(tokens);
    }
    let records = gateway.close().await;
    assert_eq!(records.len(), 6);
    let mut recorded: Vec<u64> = records.iter().map(|record| record.prompt_tokens).collect();
    billed.push(3);
    recorded.sort_unstable();
    billed.sort_unstable();
    assert_eq!(recorded, billed);
    for record in records {
        assert_eq!((record.outcome(), record.estimated, record.attempt), (Outcome::Finished, false, 1));
    }
}

/// Sends these inputs so that all of them share one call, after one of another caller.
async fn gathered(gateway: &Gateway, engine: &Engine, patient: &Patient, inputs: &[Value]) -> Vec<Answer> {
    let before = patient.calls().len();
    let unknown = patient.0.counted.lock().unwrap().len() + inputs.len();
    let someone_else = json!("someone else");
    let first = embed(gateway, &someone_else);
    let others = async {
        patient.came(before + 1).await;
        let all = join_all(inputs.iter().map(|input| embed(gateway, input)));
        let end = async {
            patient.counted(unknown).await;
            let all = inputs.len() as u32 + 1;
            until("all to wait", async || (gateway.in_flight(engine).await == all).then_some(())).await;
            // Nobody is held up any more.
            patient.answer(100);
        };
        tokio::join!(all, end).0
    };
    let (first, others) = tokio::join!(first, others);
    assert_eq!(first.status, StatusCode::OK);
    others
}

#[tokio::test]
async fn what_is_wrong_with_one_is_no_concern_of_the_others() {
    let (patient, engine) = Patient::start(0).await;
    let gateway = Gateway::open(&[&engine]).await;
    let answers = gathered(&gateway, &engine, &patient, &["a", "wrong", "b c"].map(Value::from)).await;
    let mut statuses = Vec::new();
    for (answer, tokens) in answers.into_iter().zip([1, 0, 2]) {
        statuses.push(answer.status.as_u16());
        if answer.status == StatusCode::OK {
            assert_eq!(told(answer).await.1, tokens);
        } else {
            error(answer, StatusCode::BAD_REQUEST).await;
        }
    }
    assert_eq!(statuses, [200, 400, 200]);
    let calls = patient.calls();
    // One for the first, one for three callers, and one for each of them.
    assert_eq!(calls.len(), 5, "{calls:?}");
    let records = gateway.close().await;
    let failed: Vec<_> = records.iter().filter(|record| record.outcome() != Outcome::Finished).collect();
    assert_eq!((records.len(), failed.len(), failed[0].prompt_tokens), (4, 1, 0));
}

#[tokio::test]
async fn one_call_that_fails_is_one_failure_of_its_engine() {
    let (patient, engine) = Patient::start(0).await;
    let set =
        |config: &mut inference::Config| (config.engine.breaker.failures, config.engine.attempts) = (3, 1);
    let gateway = Gateway::with(&[&engine], set).await;
    *patient.0.says.lock().unwrap() = Some((StatusCode::INTERNAL_SERVER_ERROR, 2));
    let inputs = ["a", "b", "c", "d", "e", "f"].map(Value::from);
    for answer in gathered(&gateway, &engine, &patient, &inputs).await {
        assert!(answer.status.is_server_error(), "{}", answer.status);
    }
    assert_eq!(patient.calls().len(), 2);
    assert_eq!(gateway.find(&engine).await.unwrap().state(), EngineState::Healthy);
    assert_eq!(embed(&gateway, &json!("g")).await.status, StatusCode::OK);
    let records = gateway.close().await;
    let failed = records.iter().filter(|record| record.outcome() == Outcome::Failed).count();
    assert_eq!((records.len(), failed), (8, 6));
}

#[tokio::test]
async fn whoever_leaves_leaves_the_others_alone_and_when_all_left_the_engine_is_told() {
    let (patient, engine) = Patient::start(0).await;
    let gateway = Gateway::open(&[&engine]).await;
    for stays in [true, false] {
        let before = patient.calls().len();
        let counted = patient.0.counted.lock().unwrap().len();
        let name = |what: &str| json!(format!("{what} {stays}"));
        let (first, one, other) = (name("first"), name("one"), name("other"));
        let all = async {
            let leaving = async {
                tokio::select! {
                    biased;
                    () = patient.came(before + 2) => {}
                    _ = embed(&gateway, &one) => panic!("it was answered"),
                }
            };
            let staying = async {
                if stays {
                    Some(embed(&gateway, &other).await)
                } else {
                    tokio::select! {
                        biased;
                        () = patient.came(before + 2) => None,
                        _ = embed(&gateway, &other) => panic!("it was answered"),
                    }
                }
            };
            let end = async {
                patient.came(before + 1).await;
                patient.counted(counted + 2).await;
                until("all to wait", async || (gateway.in_flight(&engine).await == 3).then_some(())).await;
                patient.answer(1);
                patient.came(before + 2).await;
                if stays {
                    patient.answer(1);
                } else {
                    soon("the end of the call", patient.0.left.subscribe().wait_for(|left| *left == 1))
                        .await
                        .unwrap();
                }
            };
            let later = async {
                patient.came(before + 1).await;
                tokio::join!(leaving, staying)
            };
            tokio::join!(embed(&gateway, &first), later, end)
        };
        let (first, ((), staying), ()) = Box::pin(all).await;
        assert_eq!(first.status, StatusCode::OK);
        assert_eq!(staying.is_some(), stays);
        if let Some(answer) = staying {
            assert_eq!(told(answer).await, (vec![other.clone()], 2));
        }
    }
    assert_eq!(patient.calls().len(), 4);
    let records = gateway.close().await;
    let cancelled = records.iter().filter(|record| record.outcome() == Outcome::Cancelled).count();
    assert_eq!((records.len(), cancelled), (6, 3));
}

#[tokio::test]
async fn texts_go_by_themselves_when_the_engine_counts_otherwise_or_not_at_all() {
    let (patient, engine) = Patient::start(1).await;
    let gateway = Gateway::open(&[&engine]).await;
    for answer in gathered(&gateway, &engine, &patient, &["a", "b c"].map(Value::from)).await {
        let (vectors, tokens) = told(answer).await;
        assert_eq!(tokens, words(&vectors[0]));
    }
    // The first, the two together, each alone.
    assert_eq!(patient.calls().len(), 4);
    let records = gateway.close().await;
    let mut tokens: Vec<u64> = records.iter().map(|record| record.prompt_tokens).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, [1, 2, 2]);
}

#[tokio::test]
async fn completions_of_different_callers_never_share_a_call_and_prompts_of_one_do() {
    let (patient, engine) = Patient::start(0).await;
    let gateway = Gateway::open(&[&engine]).await;
    let ask = |prompt: Value| {
        let body = json!({"prompt": prompt, "max_tokens": 1});
        let gateway = &gateway;
        async move { gateway.post("/v1/completions", &body).await }
    };
    let all = join_all([json!("a"), json!("b"), json!("c"), json!(["d", "e"])].map(ask));
    let end = async {
        patient.came(4).await;
        patient.answer(4);
    };
    let (answers, ()) = tokio::join!(all, end);
    for (answer, tokens) in answers.into_iter().zip([3, 3, 3, 6]) {
        assert_eq!(answer.json().await["usage"]["total_tokens"], tokens);
    }
    assert_eq!(patient.calls().len(), 4);
    let records = gateway.close().await;
    let mut tokens: Vec<u64> =
        records.iter().map(|record| record.prompt_tokens + record.completion_tokens).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, [3, 3, 3, 6]);
}

#[tokio::test]
async fn a_crowd_is_answered_as_the_engine_would_answer_each_and_no_token_is_lost() {
    let engine = Engine::embedding().await;
    let gateway = Gateway::open(&[&engine]).await;
    let before = engine.counts().await.prompt_tokens;
    let mut random = StdRng::seed_from_u64(5);
    let mut text = || {
        let words = random.random_range(1..12);
        json!((0..words).map(|_| format!("w{}", random.random_range(0..500))).collect::<Vec<_>>().join(" "))
    };
    let inputs: Vec<Value> = (0..80)
        .map(|number| match number % 4 {
            0 => json!([text(), text()]),
            1 => json!([number, number + 1, number + 2]),
            _ => text(),
        })
        .collect();
    let answers = join_all(inputs.iter().map(|input| embed(&gateway, input))).await;
    let mut billed = 0;
    for (input, answer) in inputs.iter().zip(answers) {
        assert_eq!(answer.status, StatusCode::OK);
        let own = answer.json().await;
        let itself = engine.post("/v1/embeddings", &json!({"input": input})).await.json().await;
        assert_eq!(own["usage"]["prompt_tokens"], itself["usage"]["prompt_tokens"], "{input}");
        let close =
            |one: &Value, other: &Value| (one.as_f64().unwrap() - other.as_f64().unwrap()).abs() < 1e-4;
        for (one, other) in own["data"].as_array().unwrap().iter().zip(itself["data"].as_array().unwrap()) {
            let pairs =
                one["embedding"].as_array().unwrap().iter().zip(other["embedding"].as_array().unwrap());
            assert!(
                pairs.clone().count() > 0 && pairs.into_iter().all(|(one, other)| close(one, other)),
                "{input}"
            );
        }
        billed += own["usage"]["prompt_tokens"].as_u64().unwrap();
    }
    let after = engine.idle().await.prompt_tokens;
    assert_eq!(after - before, billed * 2, "each was computed once for the gateway and once here");
    let records = gateway.close().await;
    assert_eq!(records.iter().map(|record| record.prompt_tokens).sum::<u64>(), billed);
}
