//! Azure: scheduled events that end or restart this machine. Azure waits until their deadline, or until it is told that
//! it may go on.

use super::{Deaf, LIMIT, Notice, garbled, said};
use crate::web::{self, Site};
use policy::Time;
use serde::Deserialize;
use serde_json::json;

const EVENTS: &str = "/metadata/scheduledevents?api-version=2020-07-01";
const NAME: &str = "/metadata/instance/compute/name?api-version=2021-02-01&format=text";
const HEADERS: [(&str, &str); 1] = [("metadata", "true")];

/// The metadata service.
pub(super) struct Azure {
    site: Site,
    /// What Azure calls this machine.
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Events {
    events: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    event_id: String,
    event_type: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    not_before: String,
}

impl Azure {
    pub(super) const fn new(site: Site) -> Self {
        Self { site, name: None }
    }

    pub(super) async fn ask(&mut self) -> Result<Vec<Notice>, Deaf> {
        if self.name.is_none() {
            self.name = said(&self.site, NAME, &HEADERS).await?.map(|name| name.trim().to_owned());
        }
        let name = self.name.as_deref().ok_or(Deaf::Refuses(404))?;
        let Some(text) = said(&self.site, EVENTS, &HEADERS).await? else { return Ok(Vec::new()) };
        let told: Events = serde_json::from_str(&text).map_err(|_| garbled(&text))?;
        let mine = told.events.into_iter().filter(|event| event.resources.iter().any(|one| one == name));
        Ok(mine.filter(Event::ends).map(Event::noticed).collect())
    }
}

impl Event {
    /// A machine that is only frozen for some seconds goes on where it was.
    fn ends(&self) -> bool {
        self.event_type != "Freeze"
    }

    fn noticed(self) -> Notice {
        // Empty once it has begun.
        let deadline = jiff::fmt::rfc2822::parse(&self.not_before).ok();
        let deadline = deadline.map(|at| Time(at.timestamp().as_microsecond()));
        Notice { waits: true, ..Notice::now(self.event_id, self.event_type.to_lowercase(), deadline) }
    }
}

/// Tells that nothing is left here to wait for.
pub(super) async fn release(site: &Site, event_id: &str) -> Result<(), Deaf> {
    let body = json!({ "StartRequests": [{ "EventId": event_id }] }).to_string();
    let answer = site.ask(web::request("POST", EVENTS, &HEADERS, body), LIMIT).await?;
    if answer.status.is_success() { Ok(()) } else { Err(Deaf::Refuses(answer.status.as_u16())) }
}
