//! What is done in the background waits while only what is urgent is served, and costs no attempt.

use super::{completion, line, lines, quick};
use crate::{engine::Engine, gateway::Gateway, until};
use proto::inference::v1::{
    GetJobRequest, Job, JobState, ServingMode, SetModeRequest, mode_service_client::ModeServiceClient,
};
use serde_json::json;

async fn job(gateway: &Gateway, job_id: &str) -> Job {
    let asked = GetJobRequest { job_id: job_id.to_owned() };
    gateway.jobs().get_job(asked).await.unwrap().into_inner().job.unwrap()
}

#[tokio::test]
async fn jobs_and_batches_outlast_it_with_their_first_attempt() {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::with(&[&engine], quick).await;
    let mut operator = ModeServiceClient::new(gateway.channel());
    let degraded = SetModeRequest { mode: ServingMode::Degraded.into(), ..SetModeRequest::default() };
    operator.set_mode(degraded).await.unwrap();

    let body = line("tiny", "a")["body"].take();
    let submitted = gateway.jobs().submit_job(completion(&body)).await.unwrap().into_inner().job.unwrap();
    let batch = gateway.batch(&lines(&[line("tiny", "b"), line("tiny", "c")])).await;
    until("a worker to have the job", async || {
        (job(&gateway, &submitted.job_id).await.state() == JobState::Progress).then_some(())
    })
    .await;
    let path = format!("/v1/batches/{}", batch["id"].as_str().unwrap());
    until("a worker to have the batch", async || {
        (gateway.get_json(&path).await["status"] == "in_progress").then_some(())
    })
    .await;

    let normal = operator.set_mode(SetModeRequest::default()).await.unwrap().into_inner().mode.unwrap();
    assert_eq!((normal.mode(), normal.turned_away), (ServingMode::Normal, 0));
    let over = gateway.job_over(&submitted.job_id).await;
    assert_eq!((over.state(), over.attempts), (JobState::Success, 1));
    let batch = gateway.ended(&batch).await;
    assert_eq!(batch["request_counts"], json!({"total": 2, "completed": 2, "failed": 0}));
    assert_eq!(gateway.close().await.len(), 3);
}
