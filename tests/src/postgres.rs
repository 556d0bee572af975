//! A PostgreSQL for the tests: the one that `TOLLGATE_TEST_POSTGRES` names, else a private one from the system's
//! packages that ends with the test process, however that ends. [`Private`] is for tests that break theirs.

mod private;

pub use private::Private;

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::LazyLock,
};

/// Starts a server, says so, does as it is told (`stop`, `start`), and stops it for good when standard input ends:
/// that is, when the test process is gone.
const SCRIPT: &str = r#"
set -e
dir=$(mktemp -d "${TMPDIR:-/tmp}/tollgate-postgres.XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap : INT TERM
"$0/initdb" -D "$dir/data" -U tollgate -A trust -E UTF8 --locale=C.UTF-8 --no-sync > "$dir/initdb.log"
start() {
    "$0/pg_ctl" -s -w -D "$dir/data" -l "$dir/log" start -o \
        "-p $1 -c listen_addresses=127.0.0.1 -c unix_socket_directories=$dir -c fsync=off -c max_connections=500 -c shared_buffers=64MB" < /dev/null
}
stop() { "$0/pg_ctl" -s -w -D "$dir/data" -m fast stop || true; }
start "$1"
echo ready
while read -r word; do "$word" "$1"; echo ready; done
stop
"#;

struct Shared {
    url: String,
    /// Its standard input stays open as long as this process.
    _server: Option<Server>,
}

/// A server of a test's own, which can be stopped and started again.
#[derive(Debug)]
pub struct Server {
    url: String,
    child: Child,
    words: BufReader<ChildStdout>,
}

static SERVER: LazyLock<Shared> = LazyLock::new(|| match named() {
    Some(url) => Shared { url, _server: None },
    None => {
        let server = Server::start();
        Shared { url: server.url.clone(), _server: Some(server) }
    }
});

/// The address of a database in which tests may make schemas and further databases.
#[must_use]
pub fn url() -> &'static str {
    &SERVER.url
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration; this names their database")]
fn named() -> Option<String> {
    std::env::var("TOLLGATE_TEST_POSTGRES").ok().filter(|url| !url.is_empty())
}

impl Server {
    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = as_postgres();
        command.args(["sh", "-c", SCRIPT]).arg(programs()).arg(port.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let words = BufReader::new(child.stdout.take().unwrap());
        let url = format!("postgres://tollgate@127.0.0.1:{port}/postgres");
        let mut server = Self { url, child, words };
        server.until_ready();
        server
    }

    /// The address of its database.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops it (`stop`), or starts it again (`start`).
    pub fn tell(&mut self, word: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{word}").unwrap();
        self.until_ready();
    }

    fn until_ready(&mut self) {
        let mut line = String::new();
        self.words.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "PostgreSQL did not start; its words are above");
    }
}

/// PostgreSQL refuses to run as root.
fn as_postgres() -> Command {
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let mut command = Command::new(if root { "runuser" } else { "env" });
    if root {
        command.args(["-u", "postgres", "--"]);
    }
    command.current_dir("/");
    command
}

/// The newest server that the system has.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").map(|entries| {
        entries.flatten().filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            programs.join("initdb").is_file().then_some((version, programs))
        })
    });
    match versions.ok().and_then(Iterator::max) {
        Some((_, programs)) => programs,
        None => panic!("no PostgreSQL server: install the package postgresql or set TOLLGATE_TEST_POSTGRES"),
    }
}
