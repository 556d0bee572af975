//! Limits as callers and operators meet them: headers, refusals, tiers, tokens, settings that change, Redis away.

use crate::{
    chat::{CHAT, chat, streamed},
    operate::Desk,
};
use proto::permissions::v1::{ListModelsRequest, model_service_client::ModelServiceClient};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, time::Duration};
use tempfile::TempDir;
use tests::{
    http::{Client, Reply},
    people::{grant, model_id, person},
    redis::Redis,
    rpc,
    slow::Slow,
    suite::{MODEL, Suite},
    until,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tonic::Code;
use tonic_types::StatusExt;

const MODELS: &str = "/api/v1/models";

/// Settings in which neither the hour nor the load of the machine plays a part.
struct File {
    path: PathBuf,
    _folder: TempDir,
}

impl File {
    fn new(limits: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let file = Self { path: folder.path().join("tollgate.toml"), _folder: folder };
        file.write(limits);
        file
    }

    fn write(&self, limits: &str) {
        let never = "{ warning = 1e9, critical = 1e9 }";
        let load = ["cpu", "memory", "errors", "response"].map(|what| format!("{what} = {never}\n")).concat();
        let text = format!("[limits]\nhours = []\n[limits.load.thresholds]\n{load}{limits}");
        fs::write(&self.path, text).unwrap();
    }

    async fn start(&self, settings: &[(&str, &str)]) -> Suite {
        let path = self.path.to_str().unwrap();
        Suite::start(&[&[("TOLLGATE_CONFIG", path)], settings].concat()).await
    }
}

/// So many reads of models for every user in an hour.
fn reads(most: u64) -> String {
    format!("[limits.actions.model_read]\nlimits = [{{ requests = {most}, window = \"1h\" }}]\n")
}

/// What an answer says of limits: the limit, what is left, and whether anything comes back.
fn said(reply: &Reply) -> (u64, u64, bool) {
    let number = |name: &str| -> u64 {
        let text = reply.header(name);
        text.parse().unwrap_or_else(|_| panic!("{name} is `{text}` of {}", reply.status))
    };
    (number("ratelimit-limit"), number("ratelimit-remaining"), number("ratelimit-reset") > 0)
}

const UNLIMITED: u64 = (1 << 53) - 1;

#[tokio::test]
async fn every_answer_says_how_its_caller_stands_and_the_first_key_is_unlimited() {
    let suite = File::new("").start(&[]).await;
    let owner = suite.owner();
    for path in
        [MODELS, "/api/v1/users", "/api/v1/users/none", "/api/v1/engines", "/v1/models", "/v1/nothing"]
    {
        let reply = owner.get(path).await;
        assert_eq!(said(&reply), (UNLIMITED, UNLIMITED, false), "{path}");
    }
    let answer = owner.post(CHAT, &chat(1, 1)).await.ok();
    assert_eq!(said(&answer), (UNLIMITED, UNLIMITED, false));
    let ana = person(&owner, "ana").await;
    let ana = owner.with_key(&ana.key);
    assert_eq!(said(&ana.get(MODELS).await.ok()), (100, 99, true));
    assert_eq!(said(&ana.get(MODELS).await.ok()), (100, 98, true));
    assert_eq!(said(&ana.get("/api/v1/me").await.ok()), (1_000, 999, true));
    // What is refused for another reason counts and says so too.
    let refused = ana.get("/api/v1/users").await;
    assert_eq!((refused.status, said(&refused)), (403, (1_000, 998, true)));
    assert_eq!(said(&ana.get("/api/v1/usage").await).0, 1_000, "of every service");
    // Without a credential it is the address that counts.
    let nobody = suite.nobody().get(MODELS).await;
    assert_eq!((nobody.status, said(&nobody)), (401, (100, 99, true)));
    let inference = ana.post(CHAT, &chat(1, 1)).await;
    assert_eq!((inference.status, said(&inference).0), (403, UNLIMITED), "{}", inference.text());
}

#[tokio::test]
async fn what_is_used_up_is_refused_alike_over_rest_and_grpc() {
    let suite = File::new(&reads(3)).start(&[]).await;
    let ana = person(&suite.owner(), "ana").await;
    let rest = suite.owner().with_key(&ana.key);
    let mut grpc = ModelServiceClient::new(rpc::channel(suite.address, &ana.key).await);
    assert_eq!(said(&rest.get(MODELS).await.ok()), (3, 2, true));
    let answer = grpc.list_models(ListModelsRequest::default()).await.unwrap();
    let metadata = |name: &str| answer.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(metadata("ratelimit-limit").as_deref(), Some("3"));
    assert_eq!(metadata("ratelimit-remaining").as_deref(), Some("1"));
    assert!(metadata("retry-after").is_none());
    assert_eq!(said(&rest.get(MODELS).await.ok()), (3, 0, true));

    let refused = rest.get(MODELS).await;
    assert_eq!((refused.status, said(&refused)), (429, (3, 0, true)), "{}", refused.text());
    let after: u64 = refused.header("retry-after").parse().unwrap();
    assert!((3_500..=3_800).contains(&after), "{after}");
    let body = refused.json();
    assert_eq!(body["error_code"], "RATE_LIMITED");
    let facts = &body["details"]["metadata"];
    assert_eq!(
        (&facts["action"], &facts["layer"], &facts["limit"]),
        (&json!("model_read"), &json!("user"), &json!("3"))
    );
    assert_eq!(facts["remaining"], "0");
    assert_eq!(body["details"]["retry_after"], json!(after as f64));

    let status = grpc.list_models(ListModelsRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "RATE_LIMITED");
    assert_eq!(details.quota_failure().unwrap().violations.len(), 1);
    let hint = details.retry_info().unwrap().retry_delay.unwrap();
    assert!((3_500..=3_800).contains(&hint.as_secs()));
    let said_after: u64 = status.metadata().get("retry-after").unwrap().to_str().unwrap().parse().unwrap();
    assert_eq!(said_after, hint.as_secs());
    assert_eq!(status.metadata().get("ratelimit-remaining").unwrap(), "0");
    // Others and other actions are not touched by it.
    let _ = rest.get("/api/v1/me").await.ok();
    let ben = person(&suite.owner(), "ben").await;
    assert_eq!(said(&suite.owner().with_key(&ben.key).get(MODELS).await.ok()), (3, 2, true));
    let refusals = suite.metric("tollgate_limits_decisions_total", "action=\"model_read\"").await;
    assert_eq!(refusals, 2.0);
}

#[tokio::test]
async fn tiers_and_other_settings_are_taken_over_while_it_runs() {
    let file = File::new(&reads(3));
    let suite = file.start(&[]).await;
    let ana = person(&suite.owner(), "ana").await;
    let client = suite.owner().with_key(&ana.key);
    assert_eq!(said(&client.get(MODELS).await.ok()), (3, 2, true));
    let limit = async |what: &str, limits: &str, wanted: u64| {
        file.write(limits);
        suite.process.signal("HUP");
        // Who looks for that uses up nothing of it.
        let asked = json!({"route": "/tollgate.permissions.v1.ModelService/ListModels", "user_id": ana.id});
        until(what, async || {
            let answer = suite.owner().post("/api/v1/limits:simulate", &asked).await.data();
            (answer["gauges"][0]["limit"] == wanted).then_some(())
        })
        .await;
    };
    let premium = format!("[limits.tiers.users]\n\"{}\" = \"premium\"\n{}", ana.id, reads(3));
    limit("premium", &premium, 6).await;
    assert_eq!(said(&client.get(MODELS).await.ok()), (6, 4, true), "what was used stays used");
    limit("a burst", &reads(3).replace("window", "burst = 4, window"), 7).await;
    assert_eq!(said(&client.get(MODELS).await.ok()), (7, 4, true));
    limit("a smaller limit", &reads(2), 2).await;
    assert_eq!(client.get(MODELS).await.status, 429);
    // What cannot be followed changes nothing.
    file.write("[limits.routes]\n\"/v1/x\" = \"nothing\"\n");
    suite.process.signal("HUP");
    until("a word about it", async || {
        suite.process.log().contains("there is no action `nothing`").then_some(())
    })
    .await;
    assert_eq!(client.get(MODELS).await.status, 429);
}

#[tokio::test]
async fn prompts_are_limited_by_tokens_as_they_were_and_by_how_many_run_at_once() {
    let limits = "[limits.actions.inference]\nscaled = false\nlimits = [\n\
        { tokens = 200, window = \"1h\" }, { requests = 50, window = \"1h\" }, { per = \"key\", concurrent = 1 },\n]\n";
    let suite = File::new(limits).start(&[]).await;
    let owner = suite.owner();
    let ana = person(&owner, "ana").await;
    grant(&owner, &model_id(&owner, MODEL).await, &json!({"user_id": ana.id})).await;
    let client = owner.with_key(&ana.key);
    let usable = until("the grant to arrive", async || {
        let reply = client.post(CHAT, &chat(5, 10)).await;
        (reply.status == 200).then_some(reply)
    })
    .await;
    let total = usable.json()["usage"]["total_tokens"].as_u64().unwrap();
    assert_eq!(usable.header("x-ratelimit-limit-tokens"), "200");
    assert_eq!(usable.header("x-ratelimit-limit-requests"), "50");
    assert!(usable.header("x-ratelimit-reset-tokens").ends_with('s'), "{:?}", usable.headers);
    let next = client.post(CHAT, &chat(5, 1)).await.ok();
    let left: u64 = next.header("x-ratelimit-remaining-tokens").parse().unwrap();
    assert!(left < 200 - total && left > 100, "{left} after {total}");

    let mut running = client.stream(CHAT, &streamed(5, 100)).await;
    assert_eq!(running.header("ratelimit-limit"), "50");
    running.next().await.unwrap();
    let second = client.post(CHAT, &chat(5, 1)).await;
    assert_eq!(second.openai_error(), (429, "rate_limited".to_owned(), "rate_limit_error".to_owned()));
    assert_eq!((second.header("retry-after"), second.header("retry-after-ms")), ("1", "1000"));
    assert!(second.text().contains("concurrent"), "{}", second.text());
    let _ = running.all().await;
    drop(running);
    // Its place is free again, and its tokens are counted: more than are left of the limit.
    let refused = until("the tokens to be used up", async || {
        let reply = client.post(CHAT, &chat(5, 90)).await;
        (reply.status == 429 && reply.text().contains("tokens")).then_some(reply)
    })
    .await;
    let after: u64 = refused.header("retry-after").parse().unwrap();
    assert!(after > 3_000, "{after}");
    assert!(refused.header("x-ratelimit-remaining-tokens").parse::<u64>().unwrap() < 95);
    // Whoever is unlimited is not held back by others.
    let _ = owner.post(CHAT, &chat(5, 90)).await.ok();
}

#[tokio::test]
async fn what_is_made_for_several_counts_once_and_what_is_given_again_costs_nothing() {
    let limits =
        "[limits.actions.inference]\nscaled = false\nlimits = [{ tokens = 1000, window = \"1h\" }]\n";
    let suite = File::new(limits).start(&[]).await;
    let owner = suite.owner();
    let ana = person(&owner, "ana").await;
    grant(&owner, &model_id(&owner, MODEL).await, &json!({"user_id": ana.id})).await;
    let client = owner.with_key(&ana.key);
    crate::chat::until_usable(&client).await;
    let path = format!("/api/v1/limits/usage?layer=LIMIT_LAYER_USER&subject={}", ana.id);
    let used = async |what: &str, wanted: u64| {
        until(what, async || {
            let rows = owner.get(&path).await.data();
            let mut rows = rows["usage"].as_array().into_iter().flatten();
            let row = rows.find(|row| row["limit"]["measure"] == "LIMIT_MEASURE_TOKENS");
            row.is_some_and(|row| row["used"] == wanted).then_some(())
        })
        .await;
    };
    let mut total = 4 + 1;
    used("the first one to count", total).await;
    let mut body = chat(5, 40);
    body["temperature"] = json!(0);
    let made = client.post(CHAT, &body).await.ok();
    assert_eq!(made.header("x-tollgate-cache"), "miss");
    total += made.json()["usage"]["total_tokens"].as_u64().unwrap();
    used("what was made to count", total).await;
    for _ in 0..3 {
        assert_eq!(client.post(CHAT, &body).await.ok().header("x-tollgate-cache"), "hit");
        used("what is given again to count for nothing", total).await;
    }
    let embedding = json!({"model": MODEL, "input": ["w1 w2", "w3"]});
    let vectors = client.post("/v1/embeddings", &embedding).await;
    if vectors.status == 200 {
        total += vectors.json()["usage"]["total_tokens"].as_u64().unwrap();
        used("vectors to count", total).await;
    }
}

#[tokio::test]
async fn files_and_batches_are_actions_of_their_own_and_only_so_many_uploads_are_under_way() {
    let limits =
        "[limits.actions.batch]\nlimits = [{ requests = 3, window = \"1h\" }]\n[limits.at_once]\nheavy = 1\n";
    let suite = File::new(limits).start(&[]).await;
    let ana = person(&suite.owner(), "ana").await;
    let client = suite.owner().with_key(&ana.key);
    assert_eq!(said(&client.get("/v1/files").await.ok()).0, 1_000);
    // An upload whose body does not come.
    let mut upload = TcpStream::connect(suite.address).await.unwrap();
    let head = format!(
        "POST /v1/files HTTP/1.1\r\nhost: tollgate\r\nauthorization: Bearer {}\r\ncontent-type: multipart/form-data; boundary=x\r\ncontent-length: 1000\r\n\r\n--x",
        ana.key
    );
    upload.write_all(head.as_bytes()).await.unwrap();
    let refused = until("the upload to be under way", async || {
        let reply = client.post("/v1/files", &json!({})).await;
        (reply.status == 429).then_some(reply)
    })
    .await;
    assert_eq!(refused.openai_error(), (429, "rate_limited".to_owned(), "rate_limit_error".to_owned()));
    assert_eq!(refused.header("retry-after"), "1", "{}", refused.text());
    assert!(refused.text().contains("1 calls of this endpoint"), "{}", refused.text());
    // What is no upload has room, and so has whoever is unlimited.
    let _ = client.get("/v1/files").await.ok();
    assert_eq!(suite.owner().post("/v1/files", &json!({})).await.status, 400);
    drop(upload);
    let limited = until("the limit of uploads", async || {
        let reply = client.post("/v1/batches", &json!({"input_file_id": "file-x"})).await;
        (reply.status == 429).then_some(reply)
    })
    .await;
    assert!(limited.text().contains("`batch`") && said(&limited).0 == 3, "{}", limited.text());
    let at_once = suite.metric("tollgate_limits_decisions_total", "measure=\"concurrent\"").await;
    assert!(at_once >= 1.0);
}

#[tokio::test]
async fn passwords_are_tried_five_times_in_five_minutes_from_one_address_on_one_account() {
    let suite = File::new("").start(&[]).await;
    let (nobody, first) = (suite.nobody(), suite.first_run());
    let sign_in = async |email: &str, password: &str| {
        nobody.post("/api/v1/auth:signIn", &json!({"email": email, "password": password})).await
    };
    for left in [4, 3, 2, 1, 0] {
        // Those that succeed are not tries.
        let _ = sign_in(&first.owner_email, &first.owner_password).await.ok();
        let refused = sign_in("ana@example.org", "wrong").await;
        assert_eq!((refused.status, said(&refused)), (401, (5, left, true)));
    }
    let limited = sign_in("ana@example.org", "wrong").await;
    assert_eq!((limited.status, said(&limited)), (429, (5, 0, true)), "{}", limited.text());
    assert_eq!(limited.json()["error_code"], "RATE_LIMITED");
    let after: u64 = limited.header("retry-after").parse().unwrap();
    assert!((240..=315).contains(&after), "{after}");
    let _ = sign_in(&first.owner_email, &first.owner_password).await.ok();
}

#[tokio::test]
async fn operators_see_what_is_used_and_forgive_it() {
    let suite = File::new(&reads(2)).start(&[]).await;
    let ana = person(&suite.owner(), "ana").await;
    let (client, desk) = (suite.owner().with_key(&ana.key), Desk::signed_in(&suite));
    for wanted in [200, 200, 429] {
        assert_eq!(client.get(MODELS).await.status, wanted);
    }
    let table = desk.table("limits list");
    assert!(table.starts_with("ACTION ") && table.contains("login_attempt"), "{table}");
    let rows = desk.json("limits list");
    let row = rows.as_array().unwrap().iter().find(|row| row["action"] == "model_read").unwrap();
    assert_eq!((&row["limit"], &row["free_now"], &row["admin_now"]), (&json!(2), &json!(2), &json!(20)));
    let used =
        |rows: Value| rows.as_array().unwrap().iter().map(|row| row["used"].clone()).collect::<Vec<_>>();
    assert_eq!(used(desk.json("limits show user ana@example.org")), [2]);
    assert!(desk.table("limits show user").contains(&ana.id));
    let simulated = desk
        .json(&format!("limits simulate /tollgate.permissions.v1.ModelService/GetModel --user {}", ana.id));
    assert_eq!((&simulated["allowed"], &simulated["action"]), (&Value::Null, &json!("model_read")));
    assert!(simulated["retry_after"].is_string(), "{simulated}");
    assert_eq!(simulated["tier"], "LIMIT_TIER_FREE");
    assert_eq!(
        desk.table("limits reset user ana@example.org --action model_read --reason deploy"),
        "reset\n"
    );
    assert_eq!(used(desk.json("limits show user ana@example.org")), [0_u64; 0]);
    let _ = client.get(MODELS).await.ok();
    desk.say("limits reset user nobody").refused(&["INVALID_FIELD", "UUID"]);
    let denied =
        client.post("/api/v1/limits:reset", &json!({"layer": "LIMIT_LAYER_USER", "subject": ana.id})).await;
    assert_eq!(denied.status, 403);
}

async fn until_shared(suite: &Suite, shared: f64) {
    until(&format!("tollgate_limits_shared to be {shared}"), async || {
        (suite.metric("tollgate_limits_shared", "").await == shared).then_some(())
    })
    .await;
}

fn health(reply: &Reply) -> String {
    reply.json()["components"]["limits"].to_string()
}

#[tokio::test]
async fn three_processes_share_through_redis_and_go_on_without_it() {
    let mut redis = Redis::start();
    let door = Slow::start(redis.url().trim_start_matches("redis://").parse().unwrap()).await;
    let file = File::new(&reads(20));
    let url = format!("redis://{}", door.address);
    let settings = [("TOLLGATE_REDIS__URL", url.as_str())];
    let suites = tokio::join!(file.start(&settings), file.start(&settings), file.start(&settings));
    let suites: [Suite; 3] = suites.into();
    let clients: Vec<Client> = suites.iter().map(Suite::nobody).collect();
    for suite in &suites {
        until_shared(suite, 1.0).await;
    }
    // Nobody is signed in: all of it is of one address. A lease is a fifth of the limit.
    let count = async |rounds: usize| {
        let mut allowed = 0;
        for round in 0..rounds {
            for client in &clients {
                let turn = client.get(MODELS).await.status;
                assert!(matches!(turn, 401 | 429), "{round}: {turn}");
                allowed += u32::from(turn == 401);
            }
        }
        allowed
    };
    let allowed = count(25).await;
    assert!((20..=20 + 2 * 4).contains(&allowed), "{allowed} were let in by three");

    // Slow: nobody waits for it, and it is said.
    door.hold(Duration::from_millis(300));
    until_shared(&suites[0], 0.0).await;
    let report = suites[0].nobody().get("/health/ready").await;
    assert_eq!(report.status, 200);
    assert!(health(&report).contains("degraded") && health(&report).contains("slow"), "{}", health(&report));
    let _ = suites[0].owner().get(MODELS).await.ok();
    door.hold(Duration::ZERO);
    until_shared(&suites[0], 1.0).await;

    // Away: what was used stays used, and calls are answered.
    redis.kill();
    for suite in &suites {
        until_shared(suite, 0.0).await;
    }
    assert!(health(&suites[1].nobody().get("/health/ready").await).contains("cannot be reached"));
    let others = json!({"email": "ana@example.org", "password": "wrong"});
    for suite in &suites {
        // An action that nobody used before: the whole limit by itself.
        let mut allowed = 0;
        for _ in 0..7 {
            let status = suite.nobody().post("/api/v1/auth:signIn", &others).await.status;
            allowed += u32::from(status == 401);
        }
        assert_eq!(allowed, 5);
    }

    // Back and empty: it is told what was used, so nobody gets more.
    redis.start_again();
    for suite in &suites {
        until_shared(suite, 1.0).await;
    }
    let more = count(5).await;
    assert!(more <= 8, "{more} more were let in");
    for suite in &suites {
        assert_eq!(suite.metric("tollgate_limits_redis_waits_total", "").await, 0.0);
        assert!(suite.metric("tollgate_limits_exchanges_total", "").await > 0.0);
    }
    // What is reset at one is reset at all.
    let address = json!({"layer": "LIMIT_LAYER_ADDRESS", "subject": "127.0.0.1"});
    let user = json!({"layer": "LIMIT_LAYER_USER", "subject": "127.0.0.1"});
    for subject in [address, user] {
        assert_eq!(suites[0].owner().post("/api/v1/limits:reset", &subject).await.data()["shared"], true);
    }
    until("the others to forget it", async || {
        let open = clients[2].get(MODELS).await.status == 401;
        open.then_some(())
    })
    .await;
}
