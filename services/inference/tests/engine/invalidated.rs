//! What is invalidated at one gateway: gone at all over the same database, at those that start later, and at those that
//! could not hear of it for a while once they can.

use crate::{
    answers::{chat, stream, with},
    cached::{answered, ask, on},
    client::Answer,
    engine::Engine,
    gateway::Gateway,
    second_tier::{Stalling, with_redis},
    until,
};
use http::StatusCode;
use inference::Config;
use proto::inference::v1 as pb;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, QueryBuilder};
use std::{collections::BTreeMap, net::SocketAddr};
use tests::redis::Redis;
use tonic::Code;
use uuid::Uuid;

/// A database of a test's own, on the server that all tests share.
pub(crate) struct Database {
    server: &'static str,
    name: String,
}

impl Database {
    pub(crate) async fn new() -> Self {
        let server = tokio::task::spawn_blocking(tests::postgres::url).await.unwrap();
        let database = Self { server, name: format!("gateways_{}", Uuid::now_v7().simple()) };
        database.run("CREATE DATABASE ").await;
        database
    }

    /// Where it is, or where it is seen from behind a proxy.
    pub(crate) fn url(&self, seen_at: Option<SocketAddr>) -> String {
        let at = seen_at.unwrap_or_else(|| self.address());
        format!("postgres://tollgate@{at}/{}", self.name)
    }

    fn address(&self) -> SocketAddr {
        let (_, rest) = self.server.split_once('@').unwrap();
        rest.split_once('/').unwrap().0.parse().unwrap()
    }

    /// Removes it, after whoever used it.
    pub(crate) async fn drop(self) {
        self.run("DROP DATABASE ").await;
    }

    async fn run(&self, command: &str) {
        let mut connection = PgConnection::connect(self.server).await.unwrap();
        QueryBuilder::new(command).push(&self.name).build().execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// One of several over a database, perhaps with a Redis between them.
pub(crate) fn over(database: String, redis: Option<String>) -> impl FnOnce(&mut Config) + Send + 'static {
    move |config| {
        match redis {
            Some(url) => with_redis(&url)(config),
            None => on(config),
        }
        config.database = database.into();
    }
}

/// Of equal tags, for an answer that everybody shares.
fn tagged(body: Value, tag: &str) -> Value {
    with(body, "tollgate", json!({"tags": [tag], "template": "letter/2"}))
}

/// What is kept at a gateway, in memory or in Redis.
async fn kept(gateway: &Gateway, body: &Value) -> Answer {
    ask(gateway, body, &[("cache-control", "only-if-cached")]).await
}

async fn until_kept(gateway: &Gateway, body: &Value, is: StatusCode) {
    until("what is kept", async || (kept(gateway, body).await.status == is).then_some(())).await;
}

async fn invalidate(
    gateway: &Gateway,
    asked: pb::InvalidateCachedRequest,
) -> Result<pb::InvalidateCachedResponse, tonic::Status> {
    let asked = pb::InvalidateCachedRequest { reason: "a test".into(), ..asked };
    gateway.cache().invalidate_cached(asked).await.map(tonic::Response::into_inner)
}

fn tag(tag: &str) -> pb::InvalidateCachedRequest {
    pb::InvalidateCachedRequest { tag: tag.into(), ..Default::default() }
}

#[tokio::test]
async fn what_is_invalidated_at_one_of_three_gateways_is_gone_at_all_and_at_a_fourth_that_starts_later() {
    let (engine, redis, database) = (Engine::own(&[]).await, Redis::start(), Database::new().await);
    let open = async || Gateway::with(&[&engine], over(database.url(None), Some(redis.url()))).await;
    let all = [open().await, open().await, open().await];
    for gateway in &all {
        gateway.until_up(&["answers in redis", "cache invalidations"]).await;
    }
    let (mail, other) = (tagged(chat(4), "customer/7"), tagged(chat(4), "customer/8"));
    for body in [&mail, &other] {
        assert_eq!(answered(all[0].chat(body).await).await.0, "miss");
        for gateway in &all[1..] {
            until_kept(gateway, body, StatusCode::OK).await;
        }
    }
    let told = invalidate(&all[0], tag("customer/7")).await.unwrap();
    assert_eq!((told.answers, told.sequence), (1, 1));
    assert_eq!(kept(&all[0], &mail).await.status, StatusCode::GATEWAY_TIMEOUT, "where it was said");
    for gateway in &all[1..] {
        until_kept(gateway, &mail, StatusCode::GATEWAY_TIMEOUT).await;
    }
    // It lies in Redis still: whoever counts in another database finds it there.
    let stranger = Gateway::with(&[&engine], with_redis(&redis.url())).await;
    until_kept(&stranger, &mail, StatusCode::OK).await;
    let later = open().await;
    later.until_up(&["answers in redis"]).await;
    for (body, is) in [(&other, StatusCode::OK), (&mail, StatusCode::GATEWAY_TIMEOUT)] {
        until_kept(&later, body, is).await;
    }
    assert_eq!(answered(all[1].chat(&mail).await).await.0, "miss");
    for gateway in [&all[0], &all[2], &later] {
        until_kept(gateway, &mail, StatusCode::OK).await;
    }
    until("all four to say how far they are", async || {
        let told = all[2].cache().get_cache_statistics(pb::GetCacheStatisticsRequest::default()).await;
        let told = told.unwrap().into_inner();
        let far = told.gateways.iter().filter(|gateway| gateway.sequence == 1).count();
        (told.sequence == 1 && far == 4).then_some(())
    })
    .await;
    for gateway in all.into_iter().chain([later, stranger]) {
        gateway.close().await;
    }
    database.drop().await;
}

#[tokio::test]
async fn a_gateway_that_cannot_hear_serves_what_it_has_refuses_to_invalidate_and_catches_up() {
    let (engine, database) = (Engine::own(&[]).await, Database::new().await);
    let between = Stalling::before(database.address()).await;
    let near = Gateway::with(&[&engine], over(database.url(None), None)).await;
    let far = Gateway::with(&[&engine], over(database.url(Some(between.address)), None)).await;
    let body = tagged(chat(4), "customer/7");
    for gateway in [&near, &far] {
        gateway.until_up(&["cache invalidations"]).await;
        assert_eq!(answered(gateway.chat(&body).await).await.0, "miss");
    }
    between.held.send_replace(true);
    assert_eq!(invalidate(&near, tag("customer/7")).await.unwrap().answers, 1);
    assert_eq!(kept(&near, &body).await.status, StatusCode::GATEWAY_TIMEOUT);
    until("it to say that it hears nothing", async || {
        (far.says("cache invalidations") == "degraded").then_some(())
    })
    .await;
    assert_eq!(answered(far.chat(&body).await).await.0, "hit", "nobody waits for the database");
    assert_eq!(invalidate(&far, tag("other")).await.unwrap_err().code(), Code::Unavailable);
    between.held.send_replace(false);
    until_kept(&far, &body, StatusCode::GATEWAY_TIMEOUT).await;
    until("it to invalidate again", async || invalidate(&far, tag("other")).await.ok()).await;
    near.close().await;
    far.close().await;
    database.drop().await;
}

#[tokio::test]
async fn what_is_under_way_when_it_is_invalidated_is_told_to_those_who_wait_and_to_nobody_else() {
    let engine = Engine::simulated("tiny", &["--time-scale", "1"]).await;
    let gateway = Gateway::with(&[&engine], on).await;
    let body = tagged(stream(60), "customer/7");
    let mut first = gateway.chat(&body).await;
    first.event().await.unwrap();
    let mut waits = gateway.chat(&body).await;
    assert_eq!(waits.header("x-tollgate-cache"), "hit");
    assert_eq!(invalidate(&gateway, tag("customer/7")).await.unwrap().answers, 0);
    let later = gateway.chat(&body).await;
    assert_eq!(later.header("x-tollgate-cache"), "miss", "it does not join what was under way");
    waits.event().await.unwrap();
    for answer in [first, waits] {
        assert_eq!(answer.events().await.last().unwrap(), "[DONE]");
    }
    assert_eq!(later.events().await.last().unwrap(), "[DONE]");
    assert_eq!(engine.idle().await.generation_tokens, 120);
    assert_eq!(answered(gateway.chat(&body).await).await.0, "hit");
    let listed = gateway.cache().list_cached(pb::ListCachedRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.answers.len(), 1, "the one that was asked for later");
    gateway.close().await;
}

#[tokio::test]
async fn an_invalidation_walks_to_what_depends_on_a_tag_a_template_or_a_revision() {
    let engine = Engine::own(&[]).await;
    let mut gateway = Gateway::with(&[&engine], on).await;
    let mut cache = gateway.cache();
    let mut depend = async |tag: &str, on: &[&str]| {
        let depends_on = on.iter().map(|tag| (*tag).to_owned()).collect();
        let asked = pb::SetCacheDependenciesRequest { tag: tag.into(), depends_on, ..Default::default() };
        cache.set_cache_dependencies(asked).await
    };
    depend("digest", &["customer/7/mail"]).await.unwrap();
    depend("board", &["digest", "gone"]).await.unwrap();
    depend("board", &["digest", "board"]).await.unwrap();
    assert_eq!(depend("", &["digest"]).await.unwrap_err().code(), Code::InvalidArgument);
    let listed = gateway.cache().list_cache_dependencies(pb::ListCacheDependenciesRequest::default()).await;
    let listed: BTreeMap<String, Vec<String>> =
        listed.unwrap().into_inner().dependencies.into_iter().map(|row| (row.tag, row.depends_on)).collect();
    assert_eq!((listed.len(), &listed["board"][..]), (2, &["board".to_owned(), "digest".to_owned()][..]));
    let tags = ["customer/7/mail", "digest/3", "board", "customer/8"];
    let fill = async |gateway: &Gateway| {
        for tag in tags {
            answered(gateway.chat(&tagged(chat(3), tag)).await).await;
        }
    };
    let left = async |gateway: &Gateway| {
        let told = gateway.cache().list_cached(pb::ListCachedRequest::default()).await.unwrap();
        let mut tags: Vec<String> =
            told.into_inner().answers.into_iter().flat_map(|answer| answer.tags).collect();
        tags.sort_unstable();
        tags
    };
    fill(&gateway).await;
    let selective = invalidate(&gateway, tag("customer/7")).await.unwrap();
    assert_eq!((selective.answers, selective.dependent_tags.len()), (0, 0), "only what it names");
    let walked = pb::InvalidateCachedRequest { cascade: true, ..tag("customer/7") };
    let said =
        invalidate(&gateway, pb::InvalidateCachedRequest { validate_only: true, ..walked.clone() }).await;
    let (said, done) = (said.unwrap(), invalidate(&gateway, walked).await.unwrap());
    assert_eq!((said.answers, done.answers, said.sequence), (3, 3, 0));
    assert_eq!((done.dependent_tags, done.sequence), (vec!["board".to_owned(), "digest".to_owned()], 2));
    assert_eq!(left(&gateway).await, ["customer/8"]);
    fill(&gateway).await;
    let template =
        pb::InvalidateCachedRequest { template: "letter".into(), cascade: true, ..Default::default() };
    assert_eq!(invalidate(&gateway, template).await.unwrap().answers, 4);
    fill(&gateway).await;
    let model = gateway.model.clone();
    // Another revision needs no word: those of before are found no more.
    gateway.configure(|config| {
        config.cache.models.entry(model.clone()).or_default().revision = "b".into();
    });
    assert_eq!(kept(&gateway, &tagged(chat(3), "board")).await.status, StatusCode::GATEWAY_TIMEOUT);
    fill(&gateway).await;
    let revision =
        |revision: &str| pb::InvalidateCachedRequest { revision: revision.into(), ..Default::default() };
    assert_eq!(invalidate(&gateway, revision("a")).await.unwrap().answers, 0);
    assert_eq!(invalidate(&gateway, revision("b")).await.unwrap().answers, 4);
    gateway.close().await;
}
