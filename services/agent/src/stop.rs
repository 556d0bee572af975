//! Stopping what has nothing to do: by a program, or by the cloud's own call.

use crate::{
    cloud::{self, LIMIT},
    config::{Config, Idle, Stop as Way},
    web::{self, Site, Web},
};
use shared::config::ExposeSecret;
use std::{process::Stdio, time::Duration};
use tokio::process::Command;

/// Longest time that a program may take.
const PROGRAM: Duration = Duration::from_secs(60);
const GCP: &str = "https://compute.googleapis.com";
const RUNPOD: &str = "https://rest.runpod.io";
const GCP_METADATA: &str = "http://metadata.google.internal";
const AWS_METADATA: &str = "http://169.254.169.254";

/// How this machine is stopped.
#[derive(Debug)]
pub(crate) struct Stop {
    idle: Idle,
    /// Base URL of the metadata server; empty: the cloud's own.
    metadata: String,
    web: Web,
}

impl Stop {
    pub(crate) fn new(config: &Config, web: &Web) -> Result<Self, String> {
        let (idle, metadata) = (config.idle.clone(), config.cloud.metadata.clone());
        if !idle.api.is_empty() {
            web.site(&idle.api).map_err(|fault| format!("agent.idle.api: {fault}"))?;
        }
        Ok(Self { idle, metadata, web: web.clone() })
    }

    /// Stops this machine. What keeps it from that is logged: the machine goes on and is asked about again when it was
    /// idle for long once more.
    pub(crate) async fn now(&self) {
        match self.ask().await {
            Ok(()) => tracing::warn!("this machine is being stopped: it had nothing to do"),
            Err(why) => tracing::error!(why, "this machine could not be stopped"),
        }
    }

    async fn ask(&self) -> Result<(), String> {
        match self.idle.stop {
            Way::Command => self.run().await,
            Way::Gcp => self.gcp().await,
            Way::Aws => self.aws().await,
            Way::Runpod => self.runpod().await,
        }
    }

    async fn run(&self) -> Result<(), String> {
        let (program, arguments) = self.idle.command.split_first().ok_or("agent.idle.command is empty")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let ended = tokio::time::timeout(PROGRAM, command.status()).await;
        let status = ended.map_err(|_| "the program took too long")?.map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("the program ended with {status}")) }
    }

    fn api(&self, own: &str) -> Result<Site, String> {
        self.web.site(if self.idle.api.is_empty() { own } else { &self.idle.api })
    }

    fn metadata(&self, own: &str) -> Result<Site, String> {
        self.web.site(if self.metadata.is_empty() { own } else { &self.metadata })
    }

    async fn gcp(&self) -> Result<(), String> {
        let metadata = self.metadata(GCP_METADATA)?;
        let token = cloud::google_token(&metadata).await?;
        let about = async |what: &str| {
            let path = format!("/computeMetadata/v1/{what}");
            let answer = metadata.get(&path, &[("metadata-flavor", "Google")], LIMIT).await;
            answer.map(|answer| answer.body.trim().to_owned()).map_err(|silence| silence.to_string())
        };
        let (project, zone, name) = (
            about("project/project-id").await?,
            about("instance/zone").await?,
            about("instance/name").await?,
        );
        // `projects/NUMBER/zones/ZONE`
        let zone = zone.rsplit('/').next().unwrap_or_default();
        let path = format!("/compute/v1/projects/{project}/zones/{zone}/instances/{name}/stop");
        let headers = [("authorization", format!("Bearer {token}"))];
        self.post(&self.api(GCP)?, &path, &headers, String::new()).await
    }

    async fn aws(&self) -> Result<(), String> {
        let metadata = self.metadata(AWS_METADATA)?;
        let credentials = cloud::aws_role(&metadata).await?;
        let token = crate::notice::aws_token(&metadata).await.map_err(|why| why.to_string())?;
        let about = async |what: &str| {
            let path = format!("/latest/meta-data/{what}");
            let answer = metadata.get(&path, &[("x-aws-ec2-metadata-token", &token)], LIMIT).await;
            answer.map(|answer| answer.body.trim().to_owned()).map_err(|silence| silence.to_string())
        };
        let region = if self.idle.region.is_empty() {
            about("placement/region").await?
        } else {
            self.idle.region.clone()
        };
        let id = about("instance-id").await?;
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let form = cloud::form(&[
            field("Action", "StopInstances"),
            field("Version", "2016-11-15"),
            field("InstanceId.1", &id),
        ]);
        let site = self.api(&format!("https://ec2.{region}.amazonaws.com"))?;
        let answer = cloud::aws_form(&site, credentials, &region, "ec2", form).await?;
        if answer.status.is_success() {
            Ok(())
        } else {
            Err(format!("EC2 answers {}", answer.status.as_u16()))
        }
    }

    async fn runpod(&self) -> Result<(), String> {
        let key = self.idle.api_key.read()?.ok_or("agent.idle.api_key is empty")?;
        let path = format!("/v1/pods/{}/stop", self.idle.pod);
        let headers = [("authorization", format!("Bearer {}", key.expose_secret()))];
        self.post(&self.api(RUNPOD)?, &path, &headers, String::new()).await
    }

    async fn post(
        &self,
        site: &Site,
        path: &str,
        headers: &[(&'static str, String)],
        body: String,
    ) -> Result<(), String> {
        let headers: Vec<(&'static str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .chain([("content-length", "0")])
            .collect();
        let answer = site.ask(web::request("POST", path, &headers, body), LIMIT).await;
        let answer = answer.map_err(|silence| silence.to_string())?;
        if answer.status.is_success() {
            Ok(())
        } else {
            Err(format!("it answers {}", answer.status.as_u16()))
        }
    }
}

#[cfg(test)]
mod tests;
