//! Answers that are given again: what callers get, what the engine has to do for it, and what the ledger says.

use crate::{
    answers::{chat, stream, with},
    client::{self, Answer},
    engine::Engine,
    gateway::{Gateway, named},
    refusals::error,
    until,
};
use futures_util::future::join_all;
use http::StatusCode;
use inference::Config;
use proto::{
    inference::v1 as pb,
    monitoring::v1::{Outcome, UsageRecord},
};
use rand::{
    RngExt, SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) fn on(config: &mut Config) {
    config.cache.enabled = true;
}

/// A request with further headers.
pub(crate) async fn ask(gateway: &Gateway, body: &Value, headers: &[(&'static str, &str)]) -> Answer {
    let mut request = client::post("/v1/chat/completions", &named(body, &gateway.model));
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    gateway.send(request).await
}

/// What the cache did, and what was answered.
pub(crate) async fn answered(answer: Answer) -> (String, String) {
    assert_eq!(answer.status, StatusCode::OK);
    let cached = answer.header("x-tollgate-cache").to_owned();
    assert_eq!(answer.header("age").is_empty(), cached != "hit");
    (cached, answer.text().await)
}

pub(crate) fn hits(records: &[UsageRecord]) -> Vec<&UsageRecord> {
    records.iter().filter(|record| record.cached).collect()
}

#[tokio::test]
async fn the_same_again_is_answered_byte_for_byte_and_costs_nothing() {
    let engine = Engine::own(&[]).await;
    let gateway = Gateway::with(&[&engine], on).await;
    for body in [chat(5), stream(5), with(stream(5), "stream_options", json!({"include_usage": true}))] {
        let (first, made) = answered(gateway.chat(&body).await).await;
        let before = engine.idle().await;
        let reordered = json!({"temperature": 0.0, "user": "somebody", "n": 1});
        let mut again = body.clone();
        again.as_object_mut().unwrap().extend(reordered.as_object().unwrap().clone());
        let (second, told) = answered(gateway.chat(&again).await).await;
        let wants_usage = body.get("stream_options").is_some();
        assert_eq!((first.as_str(), second.as_str()), (if wants_usage { "hit" } else { "miss" }, "hit"));
        assert_eq!(made, told);
        assert_eq!(told.contains("\"usage\":{"), wants_usage || body.get("stream").is_none());
        assert_eq!(engine.counts().await, before);
    }
    let records = gateway.close().await;
    assert_eq!((records.len(), hits(&records).len()), (6, 4));
    for record in hits(&records) {
        assert_eq!((record.outcome(), record.attempt), (Outcome::Finished, 1));
        assert_eq!((record.prompt_tokens, record.completion_tokens, record.engine.as_str()), (0, 0, ""));
        assert!(record.saved_prompt_tokens > 0 && record.saved_completion_tokens == 5, "{record:?}");
    }
}

#[tokio::test]
async fn what_is_left_to_chance_is_kept_only_when_its_caller_says_so() {
    let engine = Engine::own(&[]).await;
    let gateway = Gateway::with(&[&engine], on).await;
    let chance = with(chat(3), "temperature", 0.7);
    for _ in 0..2 {
        assert_eq!(answered(gateway.chat(&chance).await).await.0, "bypass");
    }
    let store = [("x-tollgate-cache", "store")];
    assert_eq!(answered(ask(&gateway, &chance, &store).await).await.0, "miss");
    assert_eq!(answered(ask(&gateway, &chance, &store).await).await.0, "hit");
    assert_eq!(answered(gateway.chat(&chance).await).await.0, "bypass");
    let asked = with(chance, "tollgate", json!({"cache": "store"}));
    assert_eq!(answered(gateway.chat(&asked).await).await.0, "hit");
    gateway.close().await;
}

#[tokio::test]
async fn callers_say_what_they_want_of_the_cache() {
    let engine = Engine::own(&[]).await;
    let gateway = Gateway::with(&[&engine], on).await;
    let header = async |value: &str| ask(&gateway, &chat(3), &[("cache-control", value)]).await;
    let answer = header("only-if-cached").await;
    assert_eq!(answer.header("x-should-retry"), "false");
    assert_eq!(error(answer, StatusCode::GATEWAY_TIMEOUT).await["code"], "not_cached");
    for (wish, did) in [
        ("no-store", "bypass"),
        ("max-age=60", "miss"),
        ("max-age=60", "hit"),
        ("only-if-cached", "hit"),
        ("no-cache", "miss"),
        ("no-store", "bypass"),
        ("", "hit"),
    ] {
        assert_eq!(answered(header(wish).await).await.0, did, "{wish}");
    }
    let tagged = |tag: &str| with(chat(3), "tollgate", json!({"tags": [tag]}));
    for (tag, did) in [("a", "miss"), ("a", "hit"), ("b", "miss")] {
        assert_eq!(answered(gateway.chat(&tagged(tag)).await).await.0, did, "{tag}");
    }
    let wrong = ask(&gateway, &chat(3), &[("x-tollgate-cache", "perhaps")]).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    gateway.close().await;
}

#[tokio::test]
async fn a_kept_answer_is_not_served_after_its_time_or_for_another_revision() {
    let engine = Engine::own(&[]).await;
    let mut gateway = Gateway::with(&[&engine], on).await;
    assert_eq!(answered(gateway.chat(&chat(3)).await).await.0, "miss");
    let model = gateway.model.clone();
    gateway.configure(|config| config.cache.models.entry(model.clone()).or_default().revision = "2".into());
    assert_eq!(answered(gateway.chat(&chat(3)).await).await.0, "miss");
    gateway.configure(|config| {
        config.cache.models.entry(model.clone()).or_default().ttl = Some(Duration::ZERO);
    });
    assert_eq!(answered(gateway.chat(&chat(3)).await).await.0, "bypass");
    gateway.configure(|config| config.cache.models.clear());
    assert_eq!(answered(gateway.chat(&chat(3)).await).await.0, "hit");
    gateway.close().await;
}

#[tokio::test]
async fn two_hundred_at_once_are_one_call() {
    for body in [chat(20), stream(20)] {
        let engine = Engine::simulated("tiny", &["--time-scale", "1"]).await;
        let gateway = Gateway::with(&[&engine], on).await;
        let all = join_all((0..200).map(|_| async { answered(gateway.chat(&body).await).await })).await;
        assert!(all.iter().all(|(_, text)| *text == all[0].1), "they were told different things");
        assert_eq!(all.iter().filter(|(cached, _)| cached == "miss").count(), 1);
        assert_eq!(engine.idle().await.generation_tokens, 20);
        let records = gateway.close().await;
        assert_eq!((records.len(), hits(&records).len()), (200, 199));
        let billed: u64 = records.iter().map(|record| record.completion_tokens).sum();
        let saved: u64 = records.iter().map(|record| record.saved_completion_tokens).sum();
        assert_eq!((billed, saved), (20, 199 * 20));
    }
}

#[tokio::test]
async fn whoever_asked_first_may_leave_and_the_others_hear_all_of_it() {
    let engine = Engine::simulated("tiny", &["--time-scale", "1"]).await;
    let gateway = Gateway::with(&[&engine], on).await;
    let body = stream(40);
    let mut first = gateway.chat(&body).await;
    let mut heard = vec![first.event().await.unwrap(), first.event().await.unwrap()];
    let mut late = gateway.chat(&body).await;
    assert_eq!((first.header("x-tollgate-cache"), late.header("x-tollgate-cache")), ("miss", "hit"));
    drop(first);
    for heard in heard.drain(..) {
        assert_eq!(late.event().await.unwrap(), heard);
    }
    let rest = late.events().await;
    assert_eq!(rest.last().unwrap(), "[DONE]");
    assert_eq!(engine.idle().await.generation_tokens, 40);
    assert_eq!(answered(gateway.chat(&body).await).await.0, "hit");
    let records = gateway.close().await;
    assert_eq!((records.len(), hits(&records).len()), (3, 2));
    assert!(records.iter().all(|record| record.outcome() == Outcome::Finished), "{records:#?}");
}

#[tokio::test]
async fn a_call_that_everybody_left_ends_and_is_not_kept() {
    let engine = Engine::simulated("tiny", &["--time-scale", "1"]).await;
    let gateway = Gateway::with(&[&engine], on).await;
    let body = stream(3_000);
    let (mut one, mut other) = (gateway.chat(&body).await, gateway.chat(&body).await);
    one.event().await.unwrap();
    other.event().await.unwrap();
    drop((one, other));
    assert!(engine.idle().await.generation_tokens < 3_000);
    let mut again = gateway.chat(&body).await;
    assert_eq!(again.header("x-tollgate-cache"), "miss");
    again.event().await.unwrap();
    drop(again);
    let records = gateway.close().await;
    assert!(records.iter().all(|record| record.outcome() == Outcome::Cancelled), "{records:#?}");
    assert_eq!((records.len(), hits(&records).len()), (3, 1));
}

#[tokio::test]
async fn each_listener_keeps_its_own_deadline() {
    let engine = Engine::simulated("tiny", &["--time-scale", "1"]).await;
    let gateway = Gateway::with(&[&engine], on).await;
    let body = stream(400);
    let mut patient = gateway.chat(&body).await;
    patient.event().await.unwrap();
    let hurried = ask(&gateway, &body, &[("grpc-timeout", "1S")]).await;
    let hurried = hurried.events().await;
    assert!(hurried.last().unwrap().contains("its time was over"), "{:?}", hurried.last());
    assert_eq!(patient.events().await.last().unwrap(), "[DONE]");
    gateway.close().await;
}

#[tokio::test]
async fn an_idempotency_key_makes_many_sendings_one_request() {
    let engine = Engine::simulated("tiny", &["--time-scale", "1"]).await;
    let gateway = Gateway::with(&[&engine], |_| {}).await;
    let chance = with(stream(20), "temperature", 0.7);
    let named = async |key: &str, body: &Value| ask(&gateway, body, &[("idempotency-key", key)]).await;
    let all = join_all((0..50).map(|_| async { answered(named("one", &chance).await).await })).await;
    assert!(all.iter().all(|(_, text)| *text == all[0].1));
    let first = all.iter().filter(|(cached, _)| cached == "bypass").count();
    assert_eq!((first, engine.idle().await.generation_tokens), (1, 20));
    let (did, told) = answered(named("one", &chance).await).await;
    assert_eq!((did.as_str(), &told), ("hit", &all[0].1));
    let other = named("one", &with(chance.clone(), "user", "x")).await;
    let refused = error(other, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(refused["code"], "idempotency_key_reused");
    let (did, told) = answered(named("two", &chance).await).await;
    assert_eq!(did, "bypass");
    assert_ne!(told, all[0].1);
    let records = gateway.close().await;
    assert_eq!((records.len(), hits(&records).len()), (52, 50));
}

#[tokio::test]
async fn what_its_caller_left_under_a_key_is_finished_for_the_next_sending() {
    let engine = Engine::simulated("tiny", &["--time-scale", "1"]).await;
    let gateway = Gateway::with(&[&engine], |_| {}).await;
    let key = [("idempotency-key", "k")];
    let mut first = ask(&gateway, &stream(60), &key).await;
    first.event().await.unwrap();
    drop(first);
    let again = ask(&gateway, &stream(60), &key).await;
    assert_eq!(again.header("x-tollgate-cache"), "hit");
    assert_eq!(again.events().await.last().unwrap(), "[DONE]");
    assert_eq!(engine.idle().await.generation_tokens, 60);
    // What was refused may be tried again under its key.
    let wrong = with(chat(3), "temperature", -1);
    for _ in 0..2 {
        let refused = ask(&gateway, &wrong, &[("idempotency-key", "w")]).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    }
    let right = ask(&gateway, &chat(3), &[("idempotency-key", "w")]).await;
    assert_eq!(right.status, StatusCode::OK);
    gateway.close().await;
}

#[tokio::test]
async fn of_a_hundred_texts_those_are_sent_that_are_not_known() {
    let engine = Engine::embedding().await;
    let gateway = Gateway::with(&[&engine], on).await;
    let words =
        |range: std::ops::Range<u32>| range.map(|word| format!("text number {word}")).collect::<Vec<_>>();
    let embed = async |input: &[String], format: &str| {
        let body = json!({"input": input, "encoding_format": format});
        let answer = gateway.post("/v1/embeddings", &body).await;
        assert_eq!(answer.status, StatusCode::OK);
        (answer.header("x-tollgate-cache").to_owned(), answer.json().await)
    };
    for format in ["float", "base64"] {
        let (did, _) = embed(&words(0..90), format).await;
        assert_eq!(did, "miss");
        let before = engine.idle().await;
        let mut asked = words(0..100);
        asked.reverse();
        let (did, told) = embed(&asked, format).await;
        assert_eq!(did, "miss");
        let read = engine.idle().await.prompt_tokens - before.prompt_tokens;
        let itself = engine
            .post("/v1/embeddings", &json!({"input": asked, "encoding_format": format}))
            .await
            .json()
            .await;
        assert_eq!(told["data"], itself["data"]);
        assert_eq!((&told["object"], &told["model"]), (&itself["object"], &itself["model"]));
        let all = itself["usage"]["prompt_tokens"].as_u64().unwrap();
        let said = told["usage"]["prompt_tokens"].as_u64().unwrap();
        assert!(said.abs_diff(all) <= 2, "{said} tokens said, {all} by the engine");
        assert!(read * 8 < all, "{read} tokens read of {all}");
        let before = engine.counts().await;
        let (did, again) = embed(&asked, format).await;
        assert_eq!((did.as_str(), &again["data"], &again["usage"]), ("hit", &told["data"], &told["usage"]));
        assert_eq!(engine.counts().await, before);
    }
    let records = gateway.close().await;
    let (hit, part) = (hits(&records)[0], &records[1]);
    assert_eq!((hit.prompt_tokens, part.cached), (0, false));
    assert_eq!(part.prompt_tokens + part.saved_prompt_tokens, hit.saved_prompt_tokens, "{part:?} {hit:?}");
}

#[tokio::test]
async fn operators_see_what_is_kept_and_drop_it() {
    let engine = Engine::own(&[]).await;
    let gateway = Gateway::with(&[&engine], on).await;
    let model = gateway.model.clone();
    let tagged = |tag: &str| with(chat(3), "tollgate", json!({"tags": [tag]}));
    let tags = ["customer/7/mail", "customer/7", "customer/8"];
    for tag in tags {
        for did in ["miss", "hit"] {
            assert_eq!(answered(gateway.chat(&tagged(tag)).await).await.0, did);
        }
    }
    let price = |config: &mut Config| {
        let model = config.cache.models.entry(model.clone()).or_default();
        (model.prompt_price, model.completion_price) = (0, 2_000_000);
    };
    let mut gateway = gateway;
    gateway.configure(price);
    let mut cache = gateway.cache();
    let told =
        cache.get_cache_statistics(pb::GetCacheStatisticsRequest::default()).await.unwrap().into_inner();
    let counted = &told.models[0];
    assert_eq!((counted.requests, counted.from_memory, counted.missed), (6, 3, 3));
    assert_eq!(
        (counted.hit_rate, counted.saved_completion_tokens, counted.saved_micro_dollars),
        (0.5, 9, 18)
    );
    assert_eq!(told.answers, 3);
    let list = pb::ListCachedRequest { tag: "customer/7".into(), ..Default::default() };
    let listed = cache.list_cached(list).await.unwrap().into_inner().answers;
    assert_eq!((listed.len(), listed[0].uses, listed[0].completion_tokens), (1, 1, 3));
    let drop = async |asked: pb::InvalidateCachedRequest| {
        let asked = pb::InvalidateCachedRequest { reason: "a test".into(), ..asked };
        gateway.cache().invalidate_cached(asked).await.map(|told| told.into_inner().answers)
    };
    let all = pb::InvalidateCachedRequest::default();
    assert_eq!(drop(all.clone()).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    let under = pb::InvalidateCachedRequest { tag: "customer/7".into(), cascade: true, ..all.clone() };
    let only_say = pb::InvalidateCachedRequest { validate_only: true, ..under.clone() };
    assert_eq!((drop(only_say).await.unwrap(), drop(under).await.unwrap()), (2, 2));
    for (tag, did) in tags.into_iter().zip(["miss", "miss", "hit"]) {
        assert_eq!(answered(gateway.chat(&tagged(tag)).await).await.0, did, "{tag}");
    }
    let one = pb::InvalidateCachedRequest { key: listed[0].key.clone(), ..all.clone() };
    assert_eq!(drop(one).await.unwrap(), 1);
    let rest = pb::InvalidateCachedRequest { model: "*".into(), ..all };
    assert_eq!(drop(rest).await.unwrap(), 2);
    gateway.close().await;
}

#[tokio::test]
async fn grpc_callers_say_and_are_told_the_same() {
    let engine = Engine::own(&[]).await;
    let gateway = Gateway::with(&[&engine], on).await;
    let prompt = |cache: &str| pb::Prompt {
        model: gateway.model.clone(),
        text: "w1 w2".into(),
        max_tokens: Some(3),
        temperature: Some(0.0),
        cache: cache.into(),
        tags: vec!["t".into()],
        ..pb::Prompt::default()
    };
    let ask = async |cache: &str| {
        let request = pb::InferRequest { prompt: Some(prompt(cache)), ..Default::default() };
        let answer = gateway.inference().infer(request).await?;
        let did = answer.metadata().get("x-tollgate-cache").unwrap().to_str().unwrap().to_owned();
        Ok::<_, tonic::Status>((did, answer.into_inner()))
    };
    let refused = ask("only-if-cached").await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    let (did, made) = ask("").await.unwrap();
    assert_eq!(did, "miss");
    let (did, told) = ask("max-age=60").await.unwrap();
    assert_eq!(did, "hit");
    assert_eq!((&told.choices, &told.usage), (&made.choices, &made.usage));
    assert_ne!(told.usage_id, made.usage_id);
    assert_eq!(ask("no-store").await.unwrap().0, "bypass");
    assert_eq!(ask("perhaps").await.unwrap_err().code(), tonic::Code::InvalidArgument);
    gateway.close().await;
}

#[tokio::test]
async fn whoever_may_no_longer_use_the_model_gets_no_hit() {
    let engine = Engine::own(&[]).await;
    let gateway = Gateway::with(&[&engine], on).await;
    let once = [("idempotency-key", "mine")];
    answered(ask(&gateway, &chat(4), &once).await).await;
    assert_eq!(answered(gateway.chat(&chat(4)).await).await.0, "hit");
    gateway.taken_back.send_replace(true);
    // What nobody keeps is asked, so that it is the policy that says no.
    until("the policy to arrive", async || {
        let status = ask(&gateway, &chat(1), &[("cache-control", "no-store")]).await.status;
        (status == StatusCode::FORBIDDEN).then_some(())
    })
    .await;
    for headers in [&[][..], &[("cache-control", "only-if-cached")], &once] {
        assert_eq!(ask(&gateway, &chat(4), headers).await.status, StatusCode::FORBIDDEN, "{headers:?}");
    }
    gateway.close().await;
}

/// Requests of many kinds from a seed, some of them equal in other words.
fn assorted(random: &mut StdRng) -> Value {
    let word = |random: &mut StdRng| format!("w{}", random.random_range(0..3));
    let content = [word(random), word(random)].join(" ");
    let mut body = json!({
        "messages": [{"role": "user", "content": content}],
        "max_tokens": random.random_range(1..4), "ignore_eos": true, "temperature": 0,
    });
    for (field, value) in [
        ("stream", json!(true)),
        ("user", json!(word(random))),
        ("stop", json!([word(random)])),
        ("seed", json!(random.random_range(0..2))),
        ("n", json!(1)),
        ("frequency_penalty", json!(0.0)),
        ("logprobs", json!(true)),
        ("tollgate", json!({"tags": [word(random)]})),
    ] {
        if random.random_bool(0.25) {
            body[field] = value;
        }
    }
    body
}

/// The same request in other words: fields in another order, letters escaped, numbers written otherwise, defaults said.
fn in_other_words(random: &mut StdRng, body: &Value) -> String {
    match body {
        Value::Object(fields) => {
            let mut fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| {
                    format!("{} :\n{}", escaped(random, name), in_other_words(random, value))
                })
                .collect();
            fields.shuffle(random);
            format!("{{ {} }}", fields.join(" , "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| in_other_words(random, item)).collect();
            format!("[\t{}]", items.join(","))
        }
        Value::String(text) => escaped(random, text),
        // Zeros; whole numbers stay as they are, because engines read no other way to write them.
        Value::Number(number) if number.as_f64() == Some(0.0) && !number.is_u64() => {
            (*["0", "0.0", "0e5", "0.00E-1"].choose(random).unwrap()).to_owned()
        }
        other => other.to_string(),
    }
}

fn escaped(random: &mut StdRng, text: &str) -> String {
    let letters = text.chars().map(|letter| match random.random_bool(0.3) {
        true => format!("\\u{:04x}", u32::from(letter)),
        false => letter.to_string(),
    });
    format!("\"{}\"", letters.collect::<String>())
}

/// An answer without what is new in each: its id and its time.
fn timeless(text: &str) -> Vec<Value> {
    let texts = text.split("\n\n").map(|event| event.trim_start_matches("data: "));
    let values = texts.filter_map(|text| serde_json::from_str::<Value>(text).ok());
    let timeless = |mut value: Value| {
        let object = value.as_object_mut().unwrap();
        // The last is said once in a stream, in the event of the usage where there is one.
        for field in ["id", "created", "system_fingerprint"] {
            object.remove(field);
        }
        // Engines say so in each event of a stream whose usage is asked for, which the gateway does for itself.
        if object.get("usage").is_some_and(Value::is_null) {
            object.remove("usage");
        }
        value
    };
    values.map(timeless).collect()
}

#[tokio::test]
async fn a_hit_is_what_the_engine_would_answer_whatever_is_asked() {
    let engine = Engine::own(&[]).await;
    let (gateway, mut random) = (Gateway::with(&[&engine], on).await, StdRng::seed_from_u64(11));
    let mut hits = 0;
    for _ in 0..400 {
        let body = assorted(&mut random);
        let (did, told) = answered(gateway.chat(&body).await).await;
        hits += u32::from(did == "hit");
        let mut plain = body.clone();
        plain.as_object_mut().unwrap().remove("tollgate");
        let (itself, said) = (engine.post("/v1/chat/completions", &plain).await, timeless(&told));
        assert_eq!(said, timeless(&itself.text().await), "{did}: {body}");
        assert!(!said.is_empty());
        let mut plain = named(&body, &gateway.model);
        (plain["temperature"], plain["presence_penalty"]) = (0.0.into(), 0.0.into());
        plain["user"] = "somebody else".into();
        let words = in_other_words(&mut random, &plain);
        let mut request = client::post("/v1/chat/completions", &json!({}));
        *request.body_mut() = words.clone();
        let (did, again) = answered(gateway.send(request).await).await;
        assert_eq!((did.as_str(), &again), ("hit", &told), "{words}");
    }
    assert!(hits > 60 && hits < 340, "{hits} hits");
    gateway.close().await;
}
