//! `SilenceService`, call by call.

use super::{AlertApi, MAX_NOTE, described};
use crate::{
    alerting::kept::{KeptSilence, at},
    api::field,
    error::Violation,
};
use alerts::{Matcher, SilenceState};
use policy::Time;
use proto::monitoring::v1 as pb;
use shared::{event::Origin, time};
use tonic::{Request, Response, Status};
use uuid::Uuid;

#[tonic::async_trait]
impl pb::silence_service_server::SilenceService for AlertApi {
    async fn create_silence(
        &self,
        request: Request<pb::CreateSilenceRequest>,
    ) -> Result<Response<pb::CreateSilenceResponse>, Status> {
        let comment = field::text("comment", request.get_ref().comment.clone(), MAX_NOTE)?;
        let origin = Origin::of(&request, &comment)?;
        let (creator, now) = (origin.actor.clone(), origin.at);
        let asked = request.into_inner();
        let start = field::optional_instant("start_time", asked.start_time.as_ref())?.unwrap_or(now);
        let end = field::optional_instant("end_time", asked.end_time.as_ref())?;
        let end = end.ok_or_else(|| Violation::new("end_time", "is required"))?;
        let id = Uuid::now_v7();
        let silence = alerts::Silence {
            id: id.to_string(),
            matchers: matchers(&asked.matchers)?,
            start: at(start),
            end: at(end),
        };
        let silence = KeptSilence { id, silence, comment, creator, created: now };
        let (silence, alerts) = self.0.silence(silence, &origin).await?;
        let alerts = alerts.into_iter().map(described).collect();
        Ok(Response::new(pb::CreateSilenceResponse { silence: Some(shown(silence, now)), alerts }))
    }

    async fn list_silences(
        &self,
        request: Request<pb::ListSilencesRequest>,
    ) -> Result<Response<pb::ListSilencesResponse>, Status> {
        let (asked, now) = (request.into_inner(), time::now());
        let state = match asked.state() {
            pb::SilenceState::Unspecified => None,
            pb::SilenceState::Pending => Some(SilenceState::Pending),
            pb::SilenceState::Active => Some(SilenceState::Active),
            pb::SilenceState::Expired => Some(SilenceState::Expired),
        };
        let (silences, next_page_token) =
            self.0.silences(state, now, field::page_size(asked.page_size)?, &asked.page_token).await?;
        let silences = silences.into_iter().map(|silence| shown(silence, now)).collect();
        Ok(Response::new(pb::ListSilencesResponse { silences, next_page_token }))
    }

    async fn expire_silence(
        &self,
        request: Request<pb::ExpireSilenceRequest>,
    ) -> Result<Response<pb::ExpireSilenceResponse>, Status> {
        let origin = Origin::of(&request, "")?;
        let id = field::id("silence_id", &request.get_ref().silence_id)?;
        let silence = self.0.expire(id, &origin).await?;
        Ok(Response::new(pb::ExpireSilenceResponse { silence: Some(shown(silence, origin.at)) }))
    }

    async fn preview_silence(
        &self,
        request: Request<pb::PreviewSilenceRequest>,
    ) -> Result<Response<pb::PreviewSilenceResponse>, Status> {
        let alerts = self.0.matched(&matchers(&request.get_ref().matchers)?).await?;
        Ok(Response::new(pb::PreviewSilenceResponse { alerts: alerts.into_iter().map(described).collect() }))
    }
}

fn matchers(texts: &[String]) -> Result<Vec<Matcher>, Violation> {
    let read = texts.iter().enumerate().map(|(index, text)| {
        text.parse()
            .map_err(|fault: alerts::Fault| Violation::new(format!("matchers[{index}]"), fault.to_string()))
    });
    read.collect()
}

fn shown(kept: KeptSilence, now: Time) -> pb::Silence {
    let state = match kept.silence.state(at(now)) {
        SilenceState::Pending => pb::SilenceState::Pending,
        SilenceState::Active => pb::SilenceState::Active,
        SilenceState::Expired => pb::SilenceState::Expired,
    };
    pb::Silence {
        silence_id: kept.id.to_string(),
        matchers: kept.silence.matchers.iter().map(ToString::to_string).collect(),
        start_time: Some(super::moment(kept.silence.start)),
        end_time: Some(super::moment(kept.silence.end)),
        comment: kept.comment,
        created_by: kept.creator,
        created_time: Some(time::to_proto(kept.created)),
        state: state.into(),
    }
}
