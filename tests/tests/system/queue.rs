//! The queue as operators work with it: by command, by REST, and in the metrics.

use crate::{
    chat::{CHAT, chat, named, streamed},
    operate::Desk,
};
use serde_json::{Value, json};
use tests::{engine::Engine, suite::Suite, until};

#[tokio::test]
async fn operators_see_who_waits_and_whether_promises_were_kept() {
    let engine = Engine::start("--max-num-seqs 1").await;
    let suite = Suite::start(&[
        ("TOLLGATE_ENGINES", &engine.url),
        ("TOLLGATE_INFERENCE__ENGINE__MAX_IN_FLIGHT", "1"),
        ("TOLLGATE_INFERENCE__QUEUE__PROMISES__DEFAULT_FIRST_TOKEN", "1h"),
    ])
    .await;
    let (owner, desk) = (suite.owner(), Desk::signed_in(&suite));
    let mut running = owner.stream(CHAT, &streamed(5, 4_000)).await;
    running.next().await.unwrap();
    let first = owner.send(named(&owner, "first", &chat(5, 1)));
    let second = owner.send(named(&owner, "second", &chat(5, 1)));
    let operator = async {
        let waiting = until("both to wait", async || {
            let listed = owner.get("/api/v1/queue/requests").await.data()["requests"].take();
            listed.as_array().filter(|listed| listed.len() == 2).cloned()
        })
        .await;
        assert_eq!(waiting[0]["wait_reason"], "WAIT_REASON_ENGINES_FULL");
        assert_eq!(waiting[1]["wait_reason"], "WAIT_REASON_TURN");
        assert_eq!(waiting[0]["user_id"], json!(suite.first_run().owner_id));
        let page = owner.get("/api/v1/queue/requests?page_size=1").await.data();
        assert_eq!(page["requests"].as_array().map(Vec::len), Some(1), "{page}");
        let id =
            waiting.iter().find(|row| row["request_id"] == "second").unwrap()["usage_id"].as_str().unwrap();
        let table = desk.table("queue list");
        assert!(table.starts_with("MODEL ") && table.contains(id), "{table}");
        assert_eq!(table.lines().count(), 3, "{table}");
        let models = desk.json("queue models");
        let row = models.as_array().unwrap().iter().find(|row| row["waiting_default"] == 2).unwrap();
        assert_eq!(row["engines"][0]["requests"], 1, "{row}");
        assert_eq!(suite.metric("tollgate_queue_requests", "tollgate_class=\"default\"").await, 2.0);
        assert_eq!(desk.table(&format!("queue cancel {id} --reason deploy")), "cancelled\n");
        desk.say(&format!("queue cancel {id}")).refused(&["REQUEST_NOT_QUEUED"]);
        let event = desk.json("audit list --kind queued_request")[0].take();
        assert_eq!((&event["id"], &event["reason"]), (&json!(id), &json!("deploy")));
        assert_eq!(event["action"], "cancelled");
        let again = owner.post(&format!("/api/v1/queue/requests/{id}:cancel"), &json!({})).await;
        assert_eq!(again.status, 404);
        drop(running);
    };
    let (first, second, ()) = tokio::join!(first, second, operator);
    let _ = first.ok();
    let (status, code, _) = second.openai_error();
    assert_eq!((status, code.as_str()), (409, "request_withdrawn"));
    assert!(second.text().contains("deploy"), "{}", second.text());

    let judged = until("all to be judged", async || {
        let rows = desk.json("queue goodput --window 60m");
        let row = rows.as_array()?.first()?.clone();
        (row["offered"] == 2 && row["left"] == 1).then_some(row)
    })
    .await;
    assert_eq!((&judged["met"], &judged["missed"]["withdrawn"]), (&json!(1), &json!(1)), "{judged}");
    assert_eq!(judged["attainment"], 0.5);
    let shown: Value = owner.get("/api/v1/queue/goodput?window=3600s").await.data();
    assert_eq!(shown["goodput"][0]["attainment"], 0.5, "{shown}");
    assert!(desk.table("queue goodput").starts_with("MODEL "));
    let met = suite.metric("tollgate_goodput_requests_total", "tollgate_end=\"met\"").await;
    assert_eq!(met, 1.0);
}
