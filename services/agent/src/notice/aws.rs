//! EC2: spot interruptions and what an Auto Scaling group ends, by the instance metadata service, version 2.

use super::{Deaf, LIMIT, Notice, garbled, said};
use crate::web::{self, Site};
use policy::Time;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::time::Duration;
use tokio::time::Instant;

/// How long a token is asked for, and how long before its end another one is.
const TOKEN: (&str, Duration) = ("3600", Duration::from_secs(3_600 - 15));
const INTERRUPTION: &str = "/latest/meta-data/spot/instance-action";
const LIFECYCLE: &str = "/latest/meta-data/autoscaling/target-lifecycle-state";

/// The metadata service.
pub(super) struct Aws {
    site: Site,
    token: Option<(String, Instant)>,
}

#[derive(Deserialize)]
struct Action {
    action: String,
    time: jiff::Timestamp,
}

impl Aws {
    pub(super) const fn new(site: Site) -> Self {
        Self { site, token: None }
    }

    pub(super) async fn ask(&mut self) -> Result<Vec<Notice>, Deaf> {
        let token = self.token().await?;
        let heard = self.look(&token).await;
        if matches!(heard, Err(Deaf::Refuses(401))) {
            // It was restarted and knows its tokens no more.
            self.token = None;
        }
        heard
    }

    async fn look(&self, token: &str) -> Result<Vec<Notice>, Deaf> {
        let headers = [("x-aws-ec2-metadata-token", token)];
        let mut notices = Vec::new();
        if let Some(text) = said(&self.site, INTERRUPTION, &headers).await? {
            notices.push(interruption(&text)?);
        }
        if let Some(state) = said(&self.site, LIFECYCLE, &headers).await?
            && state.trim() == "Terminated"
        {
            notices.push(Notice::now("autoscaling:Terminated".into(), "terminate", None));
        }
        Ok(notices)
    }

    async fn token(&mut self) -> Result<String, Deaf> {
        if let Some((token, until)) = &self.token
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let token = token(&self.site).await?;
        self.token = Some((token.clone(), Instant::now() + TOKEN.1));
        Ok(token)
    }
}

/// A token of the metadata service.
pub(crate) async fn token(site: &Site) -> Result<String, Deaf> {
    let headers = [("x-aws-ec2-metadata-token-ttl-seconds", TOKEN.0)];
    let request = web::request("PUT", "/latest/api/token", &headers, String::new());
    let answer = site.ask(request, LIMIT).await?;
    if !answer.status.is_success() {
        return Err(Deaf::Refuses(answer.status.as_u16()));
    }
    Ok(answer.body)
}

fn interruption(text: &str) -> Result<Notice, Deaf> {
    let Action { action, time } = serde_json::from_str(text).map_err(|_| garbled(text))?;
    // EC2 names no event; the same words are the same event, also after a restart of the agent.
    let id = hex::encode(Sha256::digest(format!("{action} {time}")));
    Ok(Notice::now(id, action, Some(Time(time.as_microsecond()))))
}
