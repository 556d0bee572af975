//! A mail server for the tests: aiosmtpd, which keeps what it is given as files.

use crate::{authority::Files, process::free_address, until};
use std::{
    fs,
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Smtp {
    address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Smtp {
    /// Starts one that takes everything.
    #[must_use]
    pub fn start() -> Self {
        Self::over(None)
    }

    /// Starts one that takes nothing before the connection is encrypted (STARTTLS).
    #[must_use]
    pub fn encrypted(files: &Files) -> Self {
        Self::over(Some(files))
    }

    fn over(files: Option<&Files>) -> Self {
        let (address, folder) = (free_address(), TempDir::new().unwrap());
        let mut command = Command::new("aiosmtpd");
        if let Some(Files { certificate, key }) = files {
            command.arg("--tlscert").arg(certificate).arg("--tlskey").arg(key);
        }
        let child = command
            .args(["-n", "-l", &address.to_string(), "-c", "aiosmtpd.handlers.Mailbox"])
            .arg(folder.path().join("mail"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("aiosmtpd cannot be started (python3-aiosmtpd has it): {error}"));
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "aiosmtpd does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { address, child, folder }
    }

    /// Its port on this machine.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The mails that it has.
    #[must_use]
    pub fn mails(&self) -> Vec<String> {
        let Ok(files) = fs::read_dir(self.folder.path().join("mail/new")) else { return Vec::new() };
        files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }

    /// The first mail with this text in it, once it is there.
    pub async fn mail_with(&self, text: &str) -> String {
        until(&format!("a mail with {text}"), async || {
            self.mails().into_iter().find(|mail| mail.contains(text))
        })
        .await
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        // One that ended by itself is as dead.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
