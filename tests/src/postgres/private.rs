//! A PostgreSQL that a test has for itself: to be frozen, killed, and started again on the same data.

use super::{as_postgres, programs};
use crate::{authority::Issued, process::free_address, until};
use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Stdio},
};
use tempfile::TempDir;

/// The server and its data. Dropping it kills the one and removes the other.
#[derive(Debug)]
pub struct Private {
    address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Private {
    /// Makes a new one and waits until it answers.
    pub async fn start() -> Self {
        Self::make(None).await
    }

    /// Makes a new one that shows a certificate and takes connections over TLS alone.
    pub async fn secured(own: &Issued) -> Self {
        Self::make(Some(own)).await
    }

    async fn make(own: Option<&Issued>) -> Self {
        let folder = TempDir::new().unwrap();
        // The server runs as another user than root.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(folder.path(), open).unwrap();
        let data = folder.path().join("data");
        let mut initdb = as_postgres();
        initdb.arg(programs().join("initdb")).arg("-D").arg(&data).args([
            "-U",
            "tollgate",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        assert!(initdb.stdout(Stdio::null()).status().unwrap().success(), "initdb");
        if let Some(own) = own {
            secure(&data, own);
        }
        let address = free_address();
        let child = run(&data, address);
        let server = Self { address, child, folder };
        server.until_up().await;
        server
    }

    /// Its database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://tollgate@{}/postgres", self.address)
    }

    /// Stops all of its processes where they are: connections stay open, and nothing answers.
    pub fn freeze(&self) {
        signal("STOP", &self.processes());
        // Those that it started while the others were being stopped.
        signal("STOP", &self.processes());
    }

    /// Kills all of its processes (SIGKILL), frozen or not, and waits for their end.
    pub fn kill(&mut self) {
        self.freeze();
        signal("KILL", &self.processes());
        // What runs the server as its user stops with it.
        signal("CONT", &[self.child.id().to_string()]);
        self.child.wait().unwrap();
    }

    /// Starts it again on the same data.
    pub async fn start_again(&mut self) {
        self.child = run(&self.folder.path().join("data"), self.address);
        self.until_up().await;
    }

    async fn until_up(&self) {
        let ready = async || {
            let mut ask = std::process::Command::new(programs().join("pg_isready"));
            ask.args(["-q", "-h", "127.0.0.1", "-p", &self.address.port().to_string()]);
            (TcpStream::connect(self.address).is_ok() && ask.status().unwrap().success()).then_some(())
        };
        until("PostgreSQL", ready).await;
    }

    /// The one that listens first, then the ones that it started.
    fn processes(&self) -> Vec<String> {
        let pid = fs::read_to_string(self.folder.path().join("data/postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap().to_owned();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let children = children.split_whitespace().map(str::to_owned);
        std::iter::once(pid).chain(children).collect()
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.kill();
        }
    }
}

fn secure(data: &Path, own: &Issued) {
    for (name, text) in [
        ("server.crt", own.certificate.as_str()),
        ("server.key", own.key.as_str()),
        ("pg_hba.conf", "hostssl all all all trust\n"),
        ("postgresql.auto.conf", "ssl = on\n"),
    ] {
        // The server reads a key only when it is its own.
        let mut write = as_postgres();
        write.arg("sh").arg("-c").arg("umask 077; cat > \"$0\"").arg(data.join(name));
        let mut write = write.stdin(Stdio::piped()).spawn().unwrap();
        write.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(write.wait().unwrap().success(), "{name}");
    }
}

/// The system under it goes on when it is killed, so what it wrote lasts without waiting for the disk.
fn run(data: &PathBuf, address: SocketAddr) -> Child {
    let mut server = as_postgres();
    server.arg(programs().join("postgres")).arg("-D").arg(data).args([
        "-p",
        &address.port().to_string(),
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "fsync=off",
        "-c",
        "unix_socket_directories=",
        "-c",
        "shared_buffers=32MB",
    ]);
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn signal(name: &str, processes: &[String]) {
    // One that ended by itself in the meantime is no matter.
    let command = format!("kill -{name} {} 2> /dev/null || true", processes.join(" "));
    assert!(std::process::Command::new("sh").arg("-c").arg(command).status().unwrap().success());
}
