//! The four services as processes of their own, meeting over sockets with a service token.

use crate::{
    http::Client,
    process::{Process, free_address},
    suite::FirstRun,
    tls::Tls,
};
use std::{fs, net::SocketAddr, path::PathBuf};
use tempfile::TempDir;

/// What services prove themselves with in these tests.
pub const SERVICE_TOKEN: &str = "tgs_0123456789abcdef0123456789abcdef0123456789abcdef";

/// One of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Role {
    Permissions,
    Monitoring,
    Inference,
    Edge,
}

const ROLES: [Role; 4] = [Role::Permissions, Role::Monitoring, Role::Inference, Role::Edge];

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Permissions => "permissions",
            Self::Monitoring => "monitoring",
            Self::Inference => "inference",
            Self::Edge => "edge",
        }
    }
}

/// Where everything is and how it is started.
#[derive(Debug)]
pub struct Apart {
    services: [SocketAddr; 4],
    admins: [SocketAddr; 4],
    settings: Vec<(String, String)>,
    tls: Option<Tls>,
    running: [Option<Process>; 4],
    /// Dropped last: the processes write into it.
    folder: TempDir,
}

impl Apart {
    /// Starts all four, with further settings that all of them get.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let mut apart = Self::prepare(settings);
        apart.run_all().await;
        apart
    }

    /// Everything but the processes.
    #[must_use]
    pub fn prepare(settings: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("token"), format!("{SERVICE_TOKEN}\n")).unwrap();
        Self {
            services: ROLES.map(|_| free_address()),
            admins: ROLES.map(|_| free_address()),
            settings: settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            folder,
            tls: None,
            running: [const { None }; 4],
        }
    }

    /// All services over TLS from now on: where settings put them, and how its clients come.
    #[must_use]
    pub fn over(mut self, tls: &Tls) -> Self {
        self.tls = Some(tls.clone());
        self
    }

    /// Starts all that do not run yet.
    pub async fn run_all(&mut self) {
        for role in ROLES {
            self.run(role).await;
        }
    }

    /// Starts one service, or starts it again, and waits until it is ready.
    pub async fn run(&mut self, role: Role) {
        let mut process = self.spawn(role, &[]);
        process.until_ok(self.admin(role), "/health/ready").await;
        self.running[role as usize] = Some(process);
    }

    /// Starts one service and does not wait; `changes` are settings that count more than the others.
    #[must_use]
    pub fn spawn(&self, role: Role, changes: &[(&str, &str)]) -> Process {
        let mut variables = self.variables(role);
        for (name, value) in changes {
            variables.retain(|(known, _)| known != name);
            if !value.is_empty() {
                variables.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        Process::start(role.name(), &[role.name()], &variables, self.folder.path())
    }

    /// A running service.
    pub fn process(&mut self, role: Role) -> &mut Process {
        self.running[role as usize].as_mut().unwrap()
    }

    /// Where a service is.
    #[must_use]
    pub fn address(&self, role: Role) -> SocketAddr {
        self.services[role as usize]
    }

    /// Where a service's probes and metrics are.
    #[must_use]
    pub fn admin(&self, role: Role) -> SocketAddr {
        self.admins[role as usize]
    }

    /// What the first start of permissions wrote.
    #[must_use]
    pub fn first_run(&self) -> FirstRun {
        FirstRun::read(&self.data(Role::Permissions))
    }

    /// A client of the edge with the owner's key.
    #[must_use]
    pub fn owner(&self) -> Client {
        let plain = Client::new(self.address(Role::Edge), Some(&self.first_run().api_key));
        match &self.tls {
            Some(tls) => plain.over(tls),
            None => plain,
        }
    }

    /// Where a service keeps everything.
    #[must_use]
    pub fn data(&self, role: Role) -> PathBuf {
        self.folder.path().join(format!("{}-data", role.name()))
    }

    fn variables(&self, role: Role) -> Vec<(String, String)> {
        let mut variables = vec![
            ("TOLLGATE_DATA_DIR".to_owned(), self.data(role).display().to_string()),
            ("TOLLGATE_LISTEN".to_owned(), self.address(Role::Edge).to_string()),
            (
                "TOLLGATE_SERVICE_TOKEN__FILE".to_owned(),
                self.folder.path().join("token").display().to_string(),
            ),
        ];
        for other in ROLES {
            let name = other.name().to_uppercase();
            variables.push((format!("TOLLGATE_PORTS__{name}_ADMIN"), self.admin(other).to_string()));
            if other != Role::Edge {
                variables.push((format!("TOLLGATE_PORTS__{name}"), self.address(other).to_string()));
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                let url = format!("{scheme}://{}", self.address(other));
                variables.push((format!("TOLLGATE_UPSTREAM__{name}"), url));
            }
        }
        variables.extend(self.settings.iter().cloned());
        variables
    }
}
