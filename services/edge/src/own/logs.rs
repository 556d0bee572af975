//! LogService at the edge: passed on to the services, each process once; this process follows when none is named.

use super::{Own, onward};
use proto::common::v1::{self as pb, log_service_client::LogServiceClient, log_service_server::LogService};
use shared::{
    channel::Channel,
    telemetry::{
        level::PROCESS,
        serve::{read, to_proto},
    },
};
use std::collections::HashMap;
use tonic::{Request, Response, Status};

/// This process, as levels name it.
const EDGE: &str = "edge";

#[tonic::async_trait]
impl LogService for Own {
    async fn get_log_level(
        &self,
        request: Request<pb::GetLogLevelRequest>,
    ) -> Result<Response<pb::GetLogLevelResponse>, Status> {
        let named = &request.get_ref().service;
        let mut levels = Vec::new();
        for (_, channel) in self.chosen(named)? {
            levels.push(now(&request, channel).await?);
        }
        if named.is_empty() {
            levels.push(to_proto(EDGE)?);
        }
        Ok(Response::new(pb::GetLogLevelResponse { levels }))
    }

    async fn set_log_level(
        &self,
        request: Request<pb::SetLogLevelRequest>,
    ) -> Result<Response<pb::SetLogLevelResponse>, Status> {
        let asked = request.get_ref();
        let (mut levels, mut done) = (Vec::new(), HashMap::new());
        for (service, channel) in self.chosen(&asked.service)? {
            let level = now(&request, channel.clone()).await?;
            // Services of one process are asked once: the level is one, and so is the event.
            let level = match done.get(&level.process_id) {
                Some(level) => pb::LogLevel { service: service.to_owned(), ..pb::LogLevel::clone(level) },
                None => set(&request, channel).await?,
            };
            done.insert(level.process_id.clone(), level.clone());
            levels.push(level);
        }
        if asked.service.is_empty() {
            // Every service has let the caller do it, and has noted it.
            if !done.contains_key(&PROCESS.to_string()) {
                read(asked)?.set(&self.tasks);
            }
            levels.push(to_proto(EDGE)?);
        }
        Ok(Response::new(pb::SetLogLevelResponse { levels }))
    }
}

async fn now<T>(from: &Request<T>, channel: Channel) -> Result<pb::LogLevel, Status> {
    let question = onward(from, pb::GetLogLevelRequest::default());
    let answer = LogServiceClient::new(channel).get_log_level(question).await?.into_inner();
    Ok(answer.levels.into_iter().next().unwrap_or_default())
}

async fn set(from: &Request<pb::SetLogLevelRequest>, channel: Channel) -> Result<pb::LogLevel, Status> {
    let question = onward(from, from.get_ref().clone());
    let answer = LogServiceClient::new(channel).set_log_level(question).await?.into_inner();
    Ok(answer.levels.into_iter().next().unwrap_or_default())
}
