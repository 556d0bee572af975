//! `LogService`: what the process of a service writes, said and changed.

use super::level::{self, Level, LevelError, PROCESS};
use crate::{
    event::{Change, Origin, serve::Record},
    server::Tasks,
    status::{Fault, IntoStatus},
    time,
};
use proto::common::v1::{
    self as pb,
    log_service_server::{LogService, LogServiceServer},
};
use serde_json::{Value, json};
use tonic::{Code, Request, Response, Status};
use tonic_types::ErrorDetails;

/// Longest reason, in bytes.
const REASON: usize = 500;

/// Answers for the process of one service.
#[derive(Debug, Clone)]
pub struct LogApi<R> {
    service: &'static str,
    events: R,
    tasks: Tasks,
}

impl<R: Record> LogApi<R> {
    /// The service under its name, over the log of its changes.
    pub fn server(service: &'static str, events: R, tasks: &Tasks) -> LogServiceServer<Self> {
        LogServiceServer::new(Self { service, events, tasks: tasks.clone() })
    }
}

impl IntoStatus for LevelError {
    fn fault(&self) -> Fault {
        match self {
            Self::Text(_) | Self::Duration => Fault::new(Code::InvalidArgument, "INVALID_FIELD"),
            Self::NoLog => Fault::new(Code::FailedPrecondition, "NO_LOG"),
        }
    }

    fn describe(&self, details: &mut ErrorDetails) {
        match self {
            Self::Text(problem) => {
                details.add_bad_request_violation("level", problem);
            }
            Self::Duration => {
                details.add_bad_request_violation("duration", "must be more than 0 and at most 24 h");
            }
            Self::NoLog => {}
        }
    }
}

impl From<LevelError> for Status {
    fn from(error: LevelError) -> Self {
        error.into_status()
    }
}

/// A level as the contract says it.
///
/// # Errors
/// [`LevelError::NoLog`].
pub fn to_proto(service: &str) -> Result<pb::LogLevel, LevelError> {
    let (Level { text, until }, configured) = level::level()?;
    Ok(pb::LogLevel {
        service: service.to_owned(),
        level: text,
        configured: configured.to_owned(),
        revert_time: until.map(time::to_proto),
        process_id: PROCESS.to_string(),
    })
}

/// Reads what is to be written.
///
/// # Errors
/// INVALID_ARGUMENT, which names the field.
pub fn read(asked: &pb::SetLogLevelRequest) -> Result<level::Next, Status> {
    if asked.reason.len() > REASON || asked.reason.chars().any(char::is_control) {
        let fault = Fault::new(Code::InvalidArgument, "INVALID_FIELD");
        return Err(crate::status::status(fault, "reason: must be one line of at most 500 bytes"));
    }
    let duration = asked.duration.as_ref().map(time::duration_from_proto);
    let duration = duration.map(|duration| duration.ok_or(LevelError::Duration)).transpose()?;
    Ok(level::next(&asked.level, duration)?)
}

fn shown(level: &Level) -> Value {
    match level.until {
        Some(until) => json!({ "level": level.text, "until": written(until) }),
        None => json!({ "level": level.text }),
    }
}

fn written(time: policy::Time) -> String {
    jiff::Timestamp::from_microsecond(time.0).map(|time| time.to_string()).unwrap_or_default()
}

#[tonic::async_trait]
impl<R: Record> LogService for LogApi<R> {
    async fn get_log_level(
        &self,
        _request: Request<pb::GetLogLevelRequest>,
    ) -> Result<Response<pb::GetLogLevelResponse>, Status> {
        Ok(Response::new(pb::GetLogLevelResponse { levels: vec![to_proto(self.service)?] }))
    }

    async fn set_log_level(
        &self,
        request: Request<pb::SetLogLevelRequest>,
    ) -> Result<Response<pb::SetLogLevelResponse>, Status> {
        let origin = Origin::of(&request, &request.get_ref().reason)?;
        let next = read(request.get_ref())?;
        if !next.is_so() {
            // The event first: a level that nobody can be asked about is worse than one that is not changed.
            let change = Change::updated("log_level", self.service, shown(&next.before), shown(&next.after));
            self.events.record(origin.clone(), vec![change]).await?;
            let level = next.set(&self.tasks);
            tracing::info!(actor = origin.actor, level = level.text, reason = origin.reason, "log level");
        }
        Ok(Response::new(pb::SetLogLevelResponse { levels: vec![to_proto(self.service)?] }))
    }
}
