//! Queue limits: refused before the response begins when the queue is seen to be full, inside the stream otherwise.

use futures_util::future::join_all;
use simulator::{Config, Faults};

use crate::harness::{config, in_process, load, stream, text, with};

const BUSY: &str = "The engine is currently busy and cannot accept new requests. \
                    Please try again later or on a different instance.";

#[tokio::test(start_paused = true)]
async fn streams_that_arrive_together_can_be_refused_under_status_200() {
    let process = in_process(Config { max_num_queued_reqs: Some(1), time_scale: 1.0, ..config() });
    // Both pass the first check, because a place is only taken once a body is asked for.
    let (first, second) = (
        process.post("/v1/chat/completions", &stream("w1", 3)).await,
        process.post("/v1/chat/completions", &stream("w1", 3)).await,
    );
    assert_eq!((first.status(), second.status()), (200.try_into().unwrap(), 200.try_into().unwrap()));
    let (first, second) = tokio::join!(text(first.into_body()), text(second.into_body()));
    let (served, refused) =
        if first.contains("\"finish_reason\":\"length\"") { (first, second) } else { (second, first) };
    assert!(served.contains("\"finish_reason\":\"length\""));
    let error = format!(
        "data: {{\"error\": {{\"message\": \"{BUSY}\", \"type\": \"Service Unavailable\", \"param\": null, \"code\": 503}}}}\n\n"
    );
    assert_eq!(refused, error + "data: [DONE]\n\n");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_a_plain_503_with_no_retry_after() {
    let process = in_process(Config { max_num_queued_reqs: Some(2), time_scale: 1.0, ..config() });
    process.engine.set_faults(Faults { hang: true, ..Faults::default() });
    let full = async {
        process.engine.until(|counters| counters.waiting == 2).await;
        for body in [load("w1", 3), stream("w1", 3)] {
            let response = process.post("/v1/chat/completions", &body).await;
            assert_eq!(response.status(), 503);
            assert!(response.headers().get("retry-after").is_none());
            let answer: serde_json::Value = serde_json::from_str(&text(response.into_body()).await).unwrap();
            assert_eq!(answer["error"]["message"], BUSY);
        }
        process.engine.set_faults(Faults::default());
    };
    let accepted = [load("w1", 2), load("w2", 2)];
    let (answers, ()) =
        tokio::join!(join_all(accepted.iter().map(|body| process.ask("/v1/chat/completions", body))), full);
    assert!(answers.iter().all(|(status, _)| *status == 200));
    let (_, _, page) = process.get("/metrics").await;
    assert!(page.contains(
        "vllm:admission_rejections_total{model_name=\"tiny\",reason=\"max_num_queued_reqs\"} 2.0\n"
    ));
    assert_eq!(process.engine.counters().rejected, 2);
}

#[tokio::test(start_paused = true)]
async fn prompts_are_refused_while_too_many_of_their_tokens_wait() {
    let process = in_process(Config { max_num_queued_tokens: Some(3000), time_scale: 1.0, ..config() });
    let prompt = "w1 ".repeat(1500);
    let bodies: Vec<_> = (0..4).map(|_| stream(&prompt, 2)).collect();
    let responses = join_all(bodies.iter().map(|body| process.post("/v1/chat/completions", body))).await;
    assert!(responses.iter().all(|response| response.status() == 200));
    let bodies = join_all(responses.into_iter().map(|response| text(response.into_body()))).await;
    let refused = bodies.iter().filter(|body| body.contains("prefill token backlog limit")).count();
    assert_eq!(refused, 2, "of four prompts of 1503 tokens two are refused, as recorded");
    let (status, _) = process.ask("/v1/chat/completions", &load(&prompt, 2)).await;
    assert_eq!(status, 200, "once they are computed, there is room again");
}

#[tokio::test(start_paused = true)]
async fn every_answer_takes_a_place() {
    let process = in_process(Config { max_num_queued_reqs: Some(3), ..config() });
    let two = with(with(load("w1", 2), "temperature", 1), "n", 4);
    assert_eq!(process.ask("/v1/chat/completions", &two).await.0, 503);
    let two = with(with(load("w1", 2), "temperature", 1), "n", 3);
    assert_eq!(process.ask("/v1/chat/completions", &two).await.0, 200);
}
