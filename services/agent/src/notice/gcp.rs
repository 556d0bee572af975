//! Compute Engine: whether the machine is preempted, asked so that the answer comes by itself, and whether it is
//! terminated for maintenance.

use super::{Deaf, Notice, garbled, said};
use crate::web::Site;
use std::time::Duration;

const HEADERS: [(&str, &str); 1] = [("metadata-flavor", "Google")];
const PREEMPTED: &str = "/computeMetadata/v1/instance/preempted";
const MAINTENANCE: &str = "/computeMetadata/v1/instance/maintenance-event";
/// How long a question hangs until something changes, as the server is told and as it is waited for.
const HANG: (u32, Duration) = (10, Duration::from_secs(15));

/// The metadata server.
pub(super) struct Gcp {
    site: Site,
    /// The state that was told last, as the server names it.
    etag: String,
}

impl Gcp {
    pub(super) const fn new(site: Site) -> Self {
        Self { site, etag: String::new() }
    }

    pub(super) async fn ask(&mut self) -> Result<Vec<Notice>, Deaf> {
        let mut notices = Vec::new();
        if self.preempted().await? {
            notices.push(Notice::now("preempted".into(), "preempt", None));
        }
        if let Some(event) = said(&self.site, MAINTENANCE, &HEADERS).await?
            && event.trim() == "TERMINATE_ON_HOST_MAINTENANCE"
        {
            notices.push(Notice::now("maintenance".into(), "terminate for maintenance", None));
        }
        Ok(notices)
    }

    async fn preempted(&mut self) -> Result<bool, Deaf> {
        // The first question is answered at once.
        let path = if self.etag.is_empty() {
            PREEMPTED.to_owned()
        } else {
            format!("{PREEMPTED}?wait_for_change=true&timeout_sec={}&last_etag={}", HANG.0, self.etag)
        };
        let answer = self.site.get(&path, &HEADERS, HANG.1).await?;
        if !answer.status.is_success() {
            return Err(Deaf::Refuses(answer.status.as_u16()));
        }
        let etag = answer.headers.get("etag").and_then(|etag| etag.to_str().ok()).unwrap_or_default();
        etag.clone_into(&mut self.etag);
        match answer.body.trim() {
            "TRUE" => Ok(true),
            "FALSE" => Ok(false),
            other => Err(garbled(other)),
        }
    }
}
