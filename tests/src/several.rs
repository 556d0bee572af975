//! Several permissions processes on one PostgreSQL, with or without a Redis between them.

use crate::{
    apart::SERVICE_TOKEN,
    postgres::Server,
    process::{Process, free_address},
    redis::Redis,
    suite::FirstRun,
};
use std::{fs, net::SocketAddr};
use tempfile::TempDir;

/// The same for all of them: 32 bytes in base64.
const KEYS: &str = r#"["a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="]"#;

/// The processes and what they run on.
#[derive(Debug)]
pub struct Several {
    /// The processes. They are dropped first.
    pub processes: Vec<Process>,
    /// Where each of them is.
    pub addresses: Vec<SocketAddr>,
    /// Where the probes of each of them are.
    pub admins: Vec<SocketAddr>,
    /// The owner's API key.
    pub key: String,
    /// Their database.
    pub postgres: Server,
    /// Their Redis.
    pub redis: Option<Redis>,
    folder: TempDir,
}

impl Several {
    /// Starts so many, and waits until they are ready.
    pub async fn start(count: usize, redis: Option<Redis>) -> Self {
        let (postgres, folder) = (Server::start(), TempDir::new().unwrap());
        fs::write(folder.path().join("token"), SERVICE_TOKEN).unwrap();
        let (processes, addresses, admins) = (Vec::new(), Vec::new(), Vec::new());
        let key = String::new();
        let mut several = Self { processes, addresses, admins, key, postgres, redis, folder };
        for _ in 0..count {
            several.add().await;
        }
        several
    }

    async fn add(&mut self) {
        let number = self.processes.len();
        let (address, admin, folder) = (free_address(), free_address(), self.folder.path().to_owned());
        let data = folder.join(format!("data-{number}"));
        let mut variables = vec![
            ("TOLLGATE_DATA_DIR", data.display().to_string()),
            ("TOLLGATE_PORTS__PERMISSIONS", address.to_string()),
            ("TOLLGATE_PORTS__PERMISSIONS_ADMIN", admin.to_string()),
            ("TOLLGATE_SERVICE_TOKEN__FILE", folder.join("token").display().to_string()),
            ("TOLLGATE_PERMISSIONS__DATABASE", self.postgres.url().to_owned()),
            ("TOLLGATE_PERMISSIONS__ENCRYPTION_KEYS", KEYS.to_owned()),
        ];
        variables.extend(self.redis.iter().map(|redis| ("TOLLGATE_REDIS__URL", redis.url())));
        let variables: Vec<_> = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let name = format!("permissions-{number}");
        let mut process = Process::start(&name, &["permissions"], &variables, &folder);
        process.until_ok(admin, "/health/ready").await;
        if number == 0 {
            self.key = FirstRun::read(&data).api_key;
        }
        self.processes.push(process);
        self.addresses.push(address);
        self.admins.push(admin);
    }
}
