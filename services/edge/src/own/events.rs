//! EventService at the edge: what was changed through any service, in one list.

use super::{
    Own, invalid,
    merge::{self, Part, Position},
    onward,
};
use futures_util::future::try_join_all;
use proto::common::v1::{
    self as pb, event_service_client::EventServiceClient, event_service_server::EventService,
};
use shared::{page, time};
use tonic::{Request, Response, Status};

/// Rows of a page when none are asked for, and at most.
const PAGE: (u32, u32) = (100, 1_000);

#[tonic::async_trait]
impl EventService for Own {
    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        let asked = request.get_ref();
        let services = self.chosen(&asked.service)?;
        let filter = asked.filter.clone().unwrap_or_default();
        if asked.service.is_empty() {
            if filter.from_revision > 0 || filter.to_revision > 0 {
                return Err(invalid("service", "is needed with revisions: each service counts its own"));
            }
            if asked.after.is_some() {
                return Err(invalid("service", "is needed with after: each service counts its own"));
            }
        }
        let size = page::size(asked.page_size, PAGE.0, PAGE.1);
        let size = size.map_err(|problem| invalid("page_size", &problem.to_string()))?;
        let described = format!("all events {} {} {filter:?}", asked.oldest_first, asked.service);
        let mut position = position(asked, &described)?;

        let questions = services.into_iter().map(|(name, channel)| {
            let mut filter = filter.clone();
            let after = position.after.get(name).copied();
            if let (None, Some(last), false) = (after, position.last, asked.oldest_first) {
                filter.end_time = Some(earlier(filter.end_time, last + 1));
            }
            let question = pb::ListEventsRequest {
                filter: Some(filter),
                oldest_first: asked.oldest_first,
                page_size: i32::try_from(size).unwrap_or(i32::MAX),
                after,
                ..Default::default()
            };
            let question = onward(&request, question);
            async move {
                let mut client = EventServiceClient::new(channel).max_decoding_message_size(usize::MAX);
                let answer = client.list_events(question).await?.into_inner();
                // What a service says of itself is its own word; the list says whom it asked.
                let events =
                    answer.events.into_iter().map(|event| pb::Event { service: name.to_owned(), ..event });
                Ok::<_, Status>(Part { events: events.collect(), more: !answer.next_page_token.is_empty() })
            }
        });
        let mut parts = try_join_all(questions).await?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let (events, more) = merge::take(&mut parts, !asked.oldest_first, size, &mut position);
        let next_page_token = if more { page::token(&described, &position.write()) } else { String::new() };
        Ok(Response::new(pb::ListEventsResponse { events, next_page_token }))
    }
}

fn position(asked: &pb::ListEventsRequest, described: &str) -> Result<Position, Status> {
    if asked.after.is_some() && !asked.page_token.is_empty() {
        return Err(invalid("after", "must not be given with page_token"));
    }
    let refused = || invalid("page_token", &page::PageError::Token.to_string());
    let start = page::start(described, &asked.page_token).map_err(|_| refused())?;
    let mut position =
        start.map_or(Ok(Position::default()), |text| Position::read(&text).ok_or_else(refused))?;
    if let Some(after) = asked.after {
        position.after.insert(asked.service.clone(), after);
    }
    Ok(position)
}

fn earlier(end: Option<prost_types::Timestamp>, micros: i64) -> prost_types::Timestamp {
    let bound = time::Time(micros);
    match end.as_ref().and_then(time::from_proto) {
        Some(end) if end < bound => time::to_proto(end),
        _ => time::to_proto(bound),
    }
}
