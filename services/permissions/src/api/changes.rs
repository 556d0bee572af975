//! ChangeService: the stream that anything may keep in step with.

use super::Api;
use crate::{
    changes::{self, Expiry, Item, News, ResumeToken, Timed},
    error::Error,
    field,
};
use futures_util::{Stream, StreamExt};
use policy::Member;
use proto::permissions::v1::{
    self as pb, change_service_server::ChangeService, watch_changes_response as response,
};
use shared::time;
use std::{collections::HashSet, pin::Pin};
use tonic::{Request, Response, Status};

/// Most kinds that a watch can be limited to.
const KINDS: usize = 100;
/// Longest word for a kind.
const KIND: usize = 100;

#[tonic::async_trait]
impl ChangeService for Api {
    type WatchChangesStream = Pin<Box<dyn Stream<Item = Result<pb::WatchChangesResponse, Status>> + Send>>;

    async fn watch_changes(
        &self,
        request: Request<pb::WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        let request = request.into_inner();
        let from = ResumeToken::decode(&request.resume_token)?;
        let news = changes::watch(&self.hub, self.stop.clone(), from, kinds(request.kinds)?).await?;
        Ok(Response::new(Box::pin(news.map(|item| item.map(to_proto).map_err(Status::from)))))
    }
}

fn kinds(kinds: Vec<String>) -> Result<HashSet<String>, Error> {
    if kinds.len() > KINDS {
        return Err(Error::invalid("kinds", format!("must name at most {KINDS} kinds")));
    }
    kinds.into_iter().map(|kind| field::text("kinds", kind, KIND)).collect()
}

fn to_proto((token, news): (ResumeToken, News)) -> pb::WatchChangesResponse {
    use response::Message;
    let message = match news {
        News::Item(Item::Event(stored)) => Message::Event(super::audit::event(&stored)),
        News::Item(Item::Expiry(expiry)) => Message::Expiration(expiration(expiry)),
        News::Heartbeat(at) => Message::Heartbeat(response::Heartbeat {
            time: Some(time::to_proto(at)),
            revision: token.position.revision.get(),
        }),
    };
    pb::WatchChangesResponse { resume_token: token.encode(), message: Some(message) }
}

fn expiration(expiry: Expiry) -> response::Expiration {
    use response::expiration::Member as Wire;
    let (id, member) = match expiry.what {
        Timed::Grant(id) => (id.to_string(), None),
        Timed::Key(id) => (id.to_string(), None),
        Timed::Membership(group, Member::User(user)) => {
            (group.to_string(), Some(Wire::UserId(user.to_string())))
        }
        Timed::Membership(group, Member::Group(inner)) => {
            (group.to_string(), Some(Wire::GroupId(inner.to_string())))
        }
    };
    response::Expiration {
        time: Some(time::to_proto(expiry.at)),
        kind: expiry.what.kind().to_owned(),
        id,
        member,
        began: expiry.began,
    }
}
