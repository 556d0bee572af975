//! The list of all who wait, page by page: one gateway after the other, in the order of their addresses.

use super::{Api, Asked, id};
use crate::{error::Error, queue::Waits};
use proto::inference::v1::{self as pb, queue_service_client::QueueServiceClient};
use shared::page;
use uuid::Uuid;

/// Rows of a page when nothing is said, and at most.
const PAGE: (u32, u32) = (50, 100);

const SIZE: Error = Error::Invalid { param: "page_size", problem: "must be between 0 and 100" };
const TOKEN: Error =
    Error::Invalid { param: "page_token", problem: "is not a token of this list with this filter" };

impl Api {
    /// One page of those who wait.
    ///
    /// # Errors
    /// When the request is wrong.
    pub(super) async fn queued(&self, asked: pb::ListQueuedRequest) -> Result<pb::ListQueuedResponse, Error> {
        let user = Some(asked.user_id.as_str()).filter(|user| !user.is_empty());
        let user = user.map(|user| id("user_id", user)).transpose()?;
        let filter = format!("queued {:?} {user:?} {}", asked.model, asked.gateway);
        let size = page::size(asked.page_size, PAGE.0, PAGE.1).map_err(|_| SIZE)? as usize;
        let from = page::start(&filter, &asked.page_token).map_err(|_| TOKEN)?;
        let (from, mut inner) = match &from {
            Some(from) => from.split_once(' ').map(|(at, inner)| (at, inner.to_owned())).ok_or(TOKEN)?,
            None => ("", String::new()),
        };
        let Asked { here, others } = self.asked(&asked.gateway)?;
        let own = here.then(|| self.address().to_owned());
        let addresses = others.iter().flat_map(|(_, addresses)| addresses).cloned().chain(own);
        let mut addresses: Vec<String> = addresses.filter(|address| address.as_str() >= from).collect();
        addresses.sort_unstable();
        let mut answer = pb::ListQueuedResponse::default();
        for address in addresses {
            if address != from {
                inner.clear();
            }
            let left = size - answer.requests.len();
            let page = if left == 0 {
                // Whether there is more is seen when it is asked for.
                answer.next_page_token = page::token(&filter, &format!("{address} "));
                return Ok(answer);
            } else if address == self.address() {
                Some(self.queued_here(&asked.model, user, left, &inner).await?)
            } else {
                let asked = pb::ListQueuedRequest {
                    gateway: address.clone(),
                    page_size: i32::try_from(left).unwrap_or(i32::MAX),
                    page_token: std::mem::take(&mut inner),
                    ..asked.clone()
                };
                let ask = |channel| async move { QueueServiceClient::new(channel).list_queued(asked).await };
                match &others {
                    Some((gateways, _)) => gateways.said(&address, ask).await,
                    None => None,
                }
            };
            let Some(page) = page else {
                answer.unreached.push(address);
                continue;
            };
            answer.requests.extend(page.requests);
            if !page.next_page_token.is_empty() {
                let at = format!("{address} {}", page.next_page_token);
                answer.next_page_token = page::token(&filter, &at);
                return Ok(answer);
            }
        }
        Ok(answer)
    }

    /// As many of those who wait here as are asked for, from a place on.
    async fn queued_here(
        &self,
        model: &str,
        user: Option<Uuid>,
        size: usize,
        from: &str,
    ) -> Result<pb::ListQueuedResponse, Error> {
        let from = match from {
            "" => None,
            from => Some(Place::read(from).ok_or(TOKEN)?),
        };
        let (mut answer, mut last) = (pb::ListQueuedResponse::default(), None);
        for model in self.models(model.to_owned()) {
            if from.as_ref().is_some_and(|from| model < from.model) {
                continue;
            }
            let Some(Waits { waits, now, .. }) = self.queue.look(&model).await else { continue };
            for (wait, who) in &waits {
                let place = Place { model: model.clone(), at: wait.place() };
                if from.as_ref().is_some_and(|from| place <= *from)
                    || user.is_some_and(|user| user != who.user.0)
                {
                    continue;
                }
                if answer.requests.len() == size {
                    answer.next_page_token = last.map(|last: Place| last.write()).unwrap_or_default();
                    return Ok(answer);
                }
                answer.requests.push(self.row(&model, wait, who, now));
                last = Some(place);
            }
        }
        Ok(answer)
    }
}

/// Where a request stands in the list of its gateway.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    model: String,
    at: (bool, u8, i64, u64),
}

impl Place {
    fn write(&self) -> String {
        let (far, level, rank, ticket) = self.at;
        format!("{} {level} {rank} {ticket} {}", u8::from(far), self.model)
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, ' ');
        let far: u8 = parts.next()?.parse().ok()?;
        let at =
            (far != 0, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { model: parts.next()?.to_owned(), at })
    }
}
