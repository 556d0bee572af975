//! One running program: its environment, its log, and its end.

use crate::{binary, http::Client, until, within};
use std::{
    fs::{self, OpenOptions},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    folder: PathBuf,
}

/// A free loopback address. It lies below the ports that the system gives to outgoing connections, so that it stays
/// free while a program that listened there is started again.
#[must_use]
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 400) as u16 * 50;
    loop {
        let port = 10_000 + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 22_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

impl Process {
    /// Runs `tollgate` with these arguments and nothing but these variables; its words go to files in `folder`.
    #[must_use]
    pub fn start(name: &str, arguments: &[&str], variables: &[(String, String)], folder: &Path) -> Self {
        Self::start_under(&[], name, arguments, variables, folder)
    }

    /// The same behind the words of another program, which has to become it.
    #[must_use]
    pub fn start_under(
        words: &[&str],
        name: &str,
        arguments: &[&str],
        variables: &[(String, String)],
        folder: &Path,
    ) -> Self {
        let log = |stream: &str| {
            let path = folder.join(format!("{name}.{stream}"));
            Stdio::from(OpenOptions::new().create(true).append(true).open(path).unwrap())
        };
        let mut command = match words.split_first() {
            Some((program, others)) => {
                let mut command = Command::new(program);
                command.args(others).arg(binary::path());
                command
            }
            None => Command::new(binary::path()),
        };
        let child = command
            .args(arguments)
            .env_clear()
            .envs(variables.iter().cloned())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log("out"))
            .stderr(log("err"))
            .spawn()
            .unwrap();
        Self { child, name: name.to_owned(), folder: folder.to_owned() }
    }

    /// Everything it has said, on both streams, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        let read = |stream| fs::read(self.folder.join(format!("{}.{stream}", self.name))).unwrap();
        String::from_utf8_lossy(&[read("out"), read("err")].concat()).into_owned()
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub fn kill(&mut self) {
        // One that ended by itself is as dead.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Tells it to stop (SIGTERM) and waits until it did.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Waits until it ended.
    pub async fn ended(&mut self) -> ExitStatus {
        until(&format!("the end of {}", self.name), async || self.child.try_wait().unwrap()).await
    }

    /// Waits for its end, however long that takes.
    pub async fn over(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(crate::LOOK).await;
        }
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status();
        assert!(sent.unwrap().success(), "{name} was not sent to {}", self.name);
    }

    /// Waits until a probe of it passes; fails at once when it ends before.
    pub async fn until_ok(&mut self, address: SocketAddr, probe: &str) {
        self.until_ok_by(&Client::new(address, None), probe).await;
    }

    /// The same by a client that knows how to come.
    pub async fn until_ok_by(&mut self, client: &Client, probe: &str) {
        let what = format!("{probe} of {}", self.name);
        let passed = until(&what, async || {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(Err(status));
            }
            let answer = client.try_send(client.request("GET", probe)).await.ok()?;
            (answer.status == 200).then_some(Ok(()))
        });
        if let Err(status) = within(&what, passed).await {
            panic!("{} ended with {status} before it was ready:\n{}", self.name, self.log());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the last words of {} ---", self.name);
            lines[lines.len().saturating_sub(25)..].iter().for_each(|line| eprintln!("{line}"));
        }
    }
}
