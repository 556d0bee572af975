//! A PostgreSQL server for the tests: the one that `TOLLGATE_TEST_POSTGRES` names, else a private one from the
//! system's packages, in a temporary folder and reached by a socket in it. Tests fail when there is neither.
//!
//! The private server is the child of a shell that waits for the end of its input. That is a pipe from this process,
//! so the server ends with the tests, however they end.

use sqlx::{Connection, PgConnection, QueryBuilder};
use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Starts the server in a new folder and prints that; at the end of its input, stops the server and removes it.
const SUPERVISE: &str = r#"
    set -e
    folder=$(mktemp -d /tmp/tollgate-postgres.XXXXXX)
    server=
    trap 'test -z "$server" || { kill -INT "$server"; wait "$server"; } || true; rm -rf "$folder"' EXIT
    trap 'exit 1' HUP INT TERM
    "$1/initdb" --pgdata="$folder/data" --username=tollgate --auth=trust --no-sync --encoding=UTF8 >/dev/null
    "$1/postgres" -D "$folder/data" -k "$folder" -c listen_addresses= -c fsync=off -c max_connections=500 \
        -c shared_buffers=64MB >"$folder/log" 2>&1 </dev/null &
    server=$!
    echo "$folder"
    exec >&-
    cat >/dev/null 2>&1 || true
"#;

static SERVER: OnceLock<Server> = OnceLock::new();

/// Where the server is. A private one runs while its input is held open here.
struct Server {
    url: String,
    _private: Option<Child>,
}

/// A database of its own for one test.
pub(crate) struct Database {
    pub(crate) url: String,
    name: String,
}

impl Database {
    /// Makes an empty database.
    pub(crate) async fn new() -> Self {
        let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(Server::start)).await.unwrap();
        let name = format!("monitoring_{}", Uuid::now_v7().simple());
        run(&server.url, "CREATE DATABASE ", &name).await;
        let (scheme, rest) = server.url.split_once("://").unwrap();
        let (address, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, _) = address.split_once('/').unwrap_or((address, ""));
        Self { url: format!("{scheme}://{host}/{name}?{parameters}"), name }
    }

    /// Drops it again.
    pub(crate) async fn end(self) {
        run(&SERVER.get().unwrap().url, "DROP DATABASE ", &self.name).await;
    }
}

async fn run(url: &str, command: &str, name: &str) {
    let mut connection = connect(url).await;
    QueryBuilder::new(command).push(name).build().execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Connects once the server takes connections, within reason.
async fn connect(url: &str) -> PgConnection {
    let started = Instant::now();
    loop {
        match PgConnection::connect(url).await {
            Ok(connection) => return connection,
            Err(error) if started.elapsed() > Duration::from_secs(60) => {
                panic!("the PostgreSQL server does not answer: {error}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

impl Server {
    #[expect(clippy::disallowed_methods, reason = "the tests' one setting; the service itself reads none")]
    fn start() -> Self {
        match std::env::var("TOLLGATE_TEST_POSTGRES") {
            Ok(url) if !url.is_empty() => Self { url, _private: None },
            _ => Self::private(),
        }
    }

    fn private() -> Self {
        let mut child = as_postgres()
            .args(["sh", "-c", SUPERVISE, "sh"])
            .arg(programs())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut folder = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut folder).unwrap();
        assert!(!folder.is_empty(), "the private PostgreSQL server could not be set up");
        let url = format!("postgres://tollgate@localhost/postgres?host={}", folder.trim_end());
        Self { url, _private: Some(child) }
    }
}

/// The server refuses to run as root.
fn as_postgres() -> Command {
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let mut command = Command::new(if root { "runuser" } else { "env" });
    if root {
        command.args(["-u", "postgres", "--"]);
    }
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
