//! `EventService`, for every service that keeps a [`log`](super::log): what is asked, and a page of the answer.

use super::{
    Change, Origin,
    log::{self, Filter, Place},
    wire,
};
use crate::{
    db::Db,
    page::{self, PageError},
    status::{Fault, IntoStatus},
    time,
};
use policy::{Revision, Time};
use prost_types::Timestamp;
use proto::common::v1::{
    self as pb,
    event_service_server::{EventService, EventServiceServer},
};
use tonic::{Code, Request, Response, Status};
use tonic_types::ErrorDetails;

/// Rows of a page when none are asked for, and at most.
const PAGE: (u32, u32) = (100, 1_000);
/// Longest text of a filter, in characters.
const TEXT: usize = 200;
/// The end of the year 9999, in microseconds: what databases can hold.
const LAST: i64 = 253_402_300_799_999_999;

/// A field of a request for events that is not as the contract wants it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Malformed {
    field: &'static str,
    problem: String,
}

impl Malformed {
    fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

impl IntoStatus for Malformed {
    fn fault(&self) -> Fault {
        Fault::new(Code::InvalidArgument, "INVALID_FIELD")
    }

    fn describe(&self, details: &mut ErrorDetails) {
        details.add_bad_request_violation(self.field, &self.problem);
    }
}

impl From<Malformed> for Status {
    fn from(malformed: Malformed) -> Self {
        malformed.into_status()
    }
}

/// A page of events that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Which events.
    pub filter: Filter,
    /// In which order.
    pub newest_first: bool,
    /// After which one.
    pub beyond: Option<Place>,
    size: u32,
}

impl Asked {
    /// Reads a request.
    ///
    /// # Errors
    /// [`Malformed`], which names the field.
    pub fn read(request: pb::ListEventsRequest) -> Result<Self, Malformed> {
        let (filter, newest_first) = (filter(request.filter.unwrap_or_default())?, !request.oldest_first);
        let (default, max) = PAGE;
        let size = page::size(request.page_size, default, max)
            .map_err(|problem| Malformed::new("page_size", problem.to_string()))?;
        if request.after.is_some() && !request.page_token.is_empty() {
            return Err(Malformed::new("after", "must not be given with page_token"));
        }
        let after =
            request.after.map(|after| Place { revision: Revision(after.revision), ordinal: after.ordinal });
        let token = page::start(&described(&filter, newest_first), &request.page_token)
            .and_then(|start| start.as_deref().map(place).transpose())
            .map_err(|problem| Malformed::new("page_token", problem.to_string()))?;
        Ok(Self { filter, newest_first, beyond: token.or(after), size })
    }

    /// How many rows to read: one more than the page has says whether there is a next one.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.size + 1
    }

    /// The answer, of rows that were read in the order asked for.
    #[must_use]
    pub fn answer(&self, mut events: Vec<pb::Event>) -> pb::ListEventsResponse {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let more = events.len() > size;
        events.truncate(size);
        let last = events.last().filter(|_| more).map(|last| format!("{}.{}", last.revision, last.ordinal));
        let described = described(&self.filter, self.newest_first);
        let next_page_token = last.map(|last| page::token(&described, &last)).unwrap_or_default();
        pb::ListEventsResponse { events, next_page_token }
    }
}

fn described(filter: &Filter, newest_first: bool) -> String {
    format!("events {newest_first} {filter:?}")
}

fn place(text: &str) -> Result<Place, PageError> {
    let parts = text.split_once('.');
    let place = parts.and_then(|(revision, ordinal)| {
        Some(Place { revision: Revision(revision.parse().ok()?), ordinal: ordinal.parse().ok()? })
    });
    place.ok_or(PageError::Token)
}

/// The conditions of a request.
///
/// # Errors
/// [`Malformed`], which names the field.
pub fn filter(filter: pb::EventFilter) -> Result<Filter, Malformed> {
    let (kind, id) = (text("filter.kind", filter.kind)?, text("filter.id", filter.id)?);
    if id.is_some() && kind.is_none() {
        return Err(Malformed::new("filter.kind", "is needed with filter.id: what kind of thing that is"));
    }
    let revision = |number| Some(Revision(number)).filter(|revision| revision.get() > 0);
    Ok(Filter {
        start: instant("filter.start_time", filter.start_time)?,
        end: instant("filter.end_time", filter.end_time)?,
        actor: text("filter.actor", filter.actor)?,
        kind,
        id,
        action: text("filter.action", filter.action)?,
        request: text("filter.request_id", filter.request_id)?,
        from: revision(filter.from_revision),
        to: revision(filter.to_revision),
    })
}

fn text(field: &'static str, text: String) -> Result<Option<String>, Malformed> {
    if text.chars().nth(TEXT).is_some() {
        return Err(Malformed::new(field, format!("must have at most {TEXT} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(Malformed::new(field, "must not contain control characters"));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn instant(field: &'static str, given: Option<Timestamp>) -> Result<Option<Time>, Malformed> {
    let Some(given) = given else { return Ok(None) };
    let time = time::from_proto(&given).filter(|time| (0..=LAST).contains(&time.0));
    time.map(Some).ok_or_else(|| Malformed::new(field, "must be a time from 1970 to 9999"))
}

/// A service that keeps a log in its database.
pub trait Logged: Clone + Send + Sync + 'static {
    /// What can go wrong with the database.
    type Error: From<sqlx::Error> + Into<Status>;

    /// The name of the service in its events.
    const SERVICE: &'static str;

    /// The database.
    ///
    /// # Errors
    /// While it is not there yet.
    fn db(&self) -> Result<&Db, Self::Error>;
}

/// Where changes are noted that no transaction reaches.
pub trait Record: Clone + Send + Sync + 'static {
    /// Notes changes right before or after they are made.
    fn record(&self, origin: Origin, changes: Vec<Change>)
    -> impl Future<Output = Result<(), Status>> + Send;
}

impl<L: Logged> Record for L {
    async fn record(&self, origin: Origin, changes: Vec<Change>) -> Result<(), Status> {
        let appended = log::append_alone(self.db().map_err(Into::into)?, &origin, changes).await;
        appended.map(drop).map_err(|error| L::Error::from(error).into())
    }
}

/// Answers for the log of one service.
#[derive(Debug, Clone)]
pub struct EventApi<L>(L);

impl<L: Logged> EventApi<L> {
    /// The service over this log.
    pub fn server(log: L) -> EventServiceServer<Self> {
        EventServiceServer::new(Self(log))
    }
}

#[tonic::async_trait]
impl<L: Logged> EventService for EventApi<L> {
    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        let asked = Asked::read(request.into_inner())?;
        let db = self.0.db().map_err(Into::into)?;
        let rows = log::list(db, &asked.filter, asked.beyond, asked.newest_first, asked.limit()).await;
        let rows = rows.map_err(|error| L::Error::from(error).into())?;
        let events = rows.iter().map(|row| wire::to_proto(L::SERVICE, &row.event, Some(row.link)));
        Ok(Response::new(asked.answer(events.collect())))
    }
}
