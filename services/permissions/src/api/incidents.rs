//! IncidentService.

use super::{Api, instant};
use crate::{
    error::Error,
    field,
    incidents::{Bucket, Filter, Incident},
    list::Page,
};
use policy::{KeyId, Time};
use proto::permissions::v1::{self as pb, incident_service_server::IncidentService};
use shared::{
    security::{self, Kind, Seen, kind_from_proto, kind_to_proto},
    time,
};
use std::{net::IpAddr, time::Duration};
use tonic::{Request, Response, Status};

/// Most incidents of one report.
const REPORT: usize = 1_000;
/// Longest texts of a reported incident, in characters.
const TEXT: usize = 200;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tonic::async_trait]
impl IncidentService for Api {
    async fn list_incidents(
        &self,
        request: Request<pb::ListIncidentsRequest>,
    ) -> Result<Response<pb::ListIncidentsResponse>, Status> {
        let request = request.get_ref();
        let pb::ListIncidentsRequest { from_time, to_time, kind, actor, address, .. } = request;
        let from = instant("from_time", from_time.as_ref())?.unwrap_or(Time(0));
        // Without an end the list is open, so that its pages are of one list.
        let to = instant("to_time", to_time.as_ref())?.unwrap_or(Time(i64::MAX / 2));
        let filter = filter(from, to, *kind, actor, address)?;
        let page = Page::new(format!("incidents {filter:?}"), request.page_size, &request.page_token)?;
        let listed = self.incidents.list(&filter, &page).await?;
        let incidents = listed.rows.into_iter().map(pb::Incident::from).collect();
        Ok(Response::new(pb::ListIncidentsResponse { incidents, next_page_token: listed.next }))
    }

    async fn count_incidents(
        &self,
        request: Request<pb::CountIncidentsRequest>,
    ) -> Result<Response<pb::CountIncidentsResponse>, Status> {
        let request = request.get_ref();
        let to = instant("to_time", request.to_time.as_ref())?.unwrap_or_else(|| time::now().plus(WINDOW));
        let from = instant("from_time", request.from_time.as_ref())?.unwrap_or_else(|| to.minus(DAY));
        let filter = filter(from, to, request.kind, &request.actor, &request.address)?;
        let width = width(request.bucket.as_ref(), &filter)?;
        let buckets = self.incidents.count(&filter, width).await?;
        Ok(Response::new(pb::CountIncidentsResponse {
            buckets: buckets.into_iter().map(Into::into).collect(),
            bucket: Some(time::duration_to_proto(width)),
        }))
    }

    async fn record_incidents(
        &self,
        request: Request<pb::RecordIncidentsRequest>,
    ) -> Result<Response<pb::RecordIncidentsResponse>, Status> {
        let incidents = request.into_inner().incidents;
        if incidents.len() > REPORT {
            return Err(Error::invalid("incidents", format!("must be at most {REPORT}")).into());
        }
        let seen = incidents.into_iter().map(seen).collect::<Result<Vec<_>, _>>()?;
        self.incidents.record(&seen).await?;
        Ok(Response::new(pb::RecordIncidentsResponse {}))
    }
}

/// Clocks of processes differ a little; what happened just now is part of "until now".
const WINDOW: Duration = Duration::from_secs(1);

fn filter(from: Time, to: Time, kind: i32, actor: &str, address: &str) -> Result<Filter, Error> {
    if from >= to {
        return Err(Error::invalid("from_time", "must lie before to_time"));
    }
    let kind = if kind == 0 { None } else { Some(self::kind(kind)?) };
    let actor = Some(field::text("actor", actor.to_owned(), TEXT)?).filter(|actor| !actor.is_empty());
    Ok(Filter { from, to, kind, actor, address: address_of("address", address)? })
}

fn kind(number: i32) -> Result<Kind, Error> {
    kind_from_proto(number).ok_or_else(|| Error::invalid("kind", "must be one of the kinds 1 to 6"))
}

/// An IP address, or nothing.
pub(super) fn address_of(field: &'static str, text: &str) -> Result<Option<IpAddr>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Error::invalid(field, "must be an IP address"))
}

fn width(bucket: Option<&prost_types::Duration>, filter: &Filter) -> Result<Duration, Error> {
    let second = Duration::from_secs(1);
    let Some(bucket) = bucket else { return Ok((filter.to.since(filter.from) / 24).max(second)) };
    let width = time::duration_from_proto(bucket).filter(|width| *width >= second);
    width.ok_or_else(|| Error::invalid("bucket", "must be 1 second or more"))
}

fn seen(incident: pb::Incident) -> Result<Seen, Error> {
    let first = instant("first_time", incident.first_time.as_ref())?;
    let first = first.ok_or_else(|| Error::invalid("first_time", "is needed"))?;
    let count = u64::try_from(incident.count).ok().filter(|count| *count > 0);
    Ok(Seen {
        count: count.ok_or_else(|| Error::invalid("count", "must be 1 or more"))?,
        first,
        last: instant("last_time", incident.last_time.as_ref())?.unwrap_or(first),
        incident: security::Incident {
            kind: kind(incident.kind)?,
            actor: field::text("actor", incident.actor, TEXT)?,
            key: field::optional_id("key_id", &incident.key_id)?,
            address: address_of("address", &incident.address)?,
            method: field::text("method", incident.method, TEXT)?,
            detail: field::text("detail", incident.detail, TEXT)?,
        },
    })
}

impl From<Incident> for pb::Incident {
    fn from(Incident { id, seen }: Incident) -> Self {
        let Seen { incident, count, first, last } = seen;
        Self {
            incident_id: id.to_string(),
            kind: kind_to_proto(incident.kind).into(),
            actor: incident.actor,
            key_id: incident.key.as_ref().map(KeyId::to_string).unwrap_or_default(),
            address: incident.address.map(|address| address.to_string()).unwrap_or_default(),
            method: incident.method,
            detail: incident.detail,
            count: i64::try_from(count).unwrap_or(i64::MAX),
            first_time: Some(time::to_proto(first)),
            last_time: Some(time::to_proto(last)),
        }
    }
}

impl From<Bucket> for pb::count_incidents_response::Bucket {
    fn from(Bucket { start, kind, count }: Bucket) -> Self {
        Self { start_time: Some(time::to_proto(start)), kind: kind_to_proto(kind).into(), count }
    }
}
