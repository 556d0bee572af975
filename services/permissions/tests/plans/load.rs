//! The data set: so many users in groups nested eight deep, so many grants, keys and events. PostgreSQL takes it by
//! COPY, SQLite by prepared inserts; the rows are the same.

use crate::world::World;
use shared::db::Db;
use sqlx::{Arguments as _, AssertSqlSafe, sqlite::SqliteArguments};
use std::fmt::Write as _;
use uuid::Uuid;

/// How much of each there is. Groups form a tree in which each holds three others.
pub(crate) struct Size {
    pub(crate) users: u128,
    pub(crate) groups: u128,
    pub(crate) models: u128,
    pub(crate) grants: u128,
    pub(crate) events: u128,
}

impl Size {
    pub(crate) const POSTGRES: Self =
        Self { users: 100_000, groups: 5_000, models: 500, grants: 1_000_000, events: 200_000 };
    pub(crate) const SQLITE: Self =
        Self { users: 5_000, groups: 250, models: 25, grants: 50_000, events: 10_000 };
}

/// The tables that are large here: to read the five thousand groups at once may well be the best plan.
pub(crate) const TABLES: [&str; 5] = ["users", "memberships", "grants", "keys", "events"];

/// Ids of one kind count up, as those of production do.
pub(crate) fn user(number: u128) -> Uuid {
    Uuid::from_u128((1 << 96) + number)
}
pub(crate) fn group(number: u128) -> Uuid {
    Uuid::from_u128((2 << 96) + number)
}
pub(crate) fn model(number: u128) -> Uuid {
    Uuid::from_u128((3 << 96) + number)
}
pub(crate) fn grant(number: u128) -> Uuid {
    Uuid::from_u128((4 << 96) + number)
}
pub(crate) fn key(number: u128) -> Uuid {
    Uuid::from_u128((5 << 96) + number)
}

/// One value of a row.
enum Cell {
    Id(Uuid),
    Text(String),
    Bytes([u8; 32]),
    Number(i64),
    /// Microseconds since 1970.
    Time(i64),
    False,
    Null,
}
use Cell::{Bytes, False, Id, Null, Number, Text, Time};

fn text(text: &str) -> Cell {
    Text(text.to_owned())
}

const CREATED: Cell = Time(1_700_000_000_000_000);
const END: i64 = 4_000_000_000_000_000;

/// Events of before, which the head knows of. They must be there before anything else is.
pub(crate) async fn history(db: &Db, size: &Size) {
    let rows = (1..=size.events).map(|number| {
        let thing = text(&grant(number % size.grants).to_string());
        let actor = text(&user(number % size.users).to_string());
        vec![
            Number(number as i64),
            Number(0),
            text("created"),
            actor,
            text("request"),
            text(""),
            Time(1_700_000_000_000_000 + number as i64 * 1_000_000),
            text("grant"),
            thing,
        ]
    });
    let columns = "revision, ordinal, action, actor, request_id, reason, occurred_at, kind, id";
    fill(db, "events", columns, rows).await;
    let raise = AssertSqlSafe(format!("UPDATE head SET revision = {}", size.events));
    shared::on!(db, |pool| sqlx::query(raise).execute(pool).await.map(drop)).unwrap();
}

/// Everything else. The service does not hear of it: its statements are the same.
pub(crate) async fn people(world: &World, size: &Size) {
    let db = &world.db;
    let users = (0..size.users).map(|n| {
        let email = format!("user-{n}@example.org");
        vec![
            Id(user(n)),
            Text(email.clone()),
            Text(email),
            Text(format!("User {n}")),
            text("member"),
            False,
            CREATED,
        ]
    });
    fill(db, "users", "id, email, email_lower, display_name, role, disabled, created_at", users).await;
    let groups = (0..size.groups).map(|n| vec![Id(group(n)), Text(format!("group-{n}")), text(""), CREATED]);
    fill(db, "groups", "id, name, description, created_at", groups).await;
    let nested = (1..size.groups).map(|n| (group((n - 1) / 3), "group", group(n), false));
    let joined = (0..size.users).flat_map(|n| {
        // Never the same one twice: the difference is odd, and the number of groups is even.
        [n + 1, n * 7 + 8].map(|to| (group(to % size.groups), "user", user(n), n.is_multiple_of(10)))
    });
    let memberships = nested.chain(joined).map(|(group, kind, member, ends)| {
        vec![Id(group), text(kind), Id(member), if ends { Time(END) } else { Null }]
    });
    fill(db, "memberships", "group_id, member_kind, member_id, expires_at", memberships).await;
    let models = (0..size.models).map(|n| {
        vec![
            Id(model(n)),
            Text(format!("model-{n}")),
            text(""),
            text("group"),
            Id(group(n % 50)),
            text("active"),
            CREATED,
        ]
    });
    fill(db, "models", "id, name, description, owner_kind, owner_id, state, created_at", models).await;
    let columns =
        "id, model_id, grantee_kind, grantee_id, action, effect, expires_at, granted_by, created_at";
    fill(db, "grants", columns, (0..size.grants).map(|n| a_grant(n, size))).await;
    let keys = (0..size.users).map(|n| {
        let revoked = if n % 20 == 0 { CREATED } else { Null };
        let hash = shared::auth::hash(&n.to_string());
        vec![
            Id(key(n)),
            Id(user(n)),
            text("key"),
            Bytes(*hash.as_bytes()),
            text("tgk_abcd"),
            Time(END),
            revoked,
            CREATED,
            CREATED,
            Time(END),
        ]
    });
    fill(
        db,
        "keys",
        "id, user_id, name, hash, hint, expires_at, revoked_at, created_at, secret_at, ends_at",
        keys,
    )
    .await;
    match db {
        Db::Postgres(pool) => {
            sqlx::raw_sql("SET LOCAL statement_timeout = 0; ANALYZE")
                .execute(pool.unwatched())
                .await
                .unwrap();
        }
        Db::Sqlite(_) => {}
    }
    // This process knows nothing of it, and would read all of it at its next event.
    assert!(world.tasks.end(std::time::Duration::from_secs(5)).await);
}

/// Nine in ten are of users, who have nine or ten each; every tenth ends.
fn a_grant(n: u128, size: &Size) -> Vec<Cell> {
    let of_users = size.grants / 10 * 9;
    let (kind, id, model_number) = if n < of_users {
        let round = n / size.users;
        ("user", user(n % size.users), (round * (size.models / 10) + n % size.users) % size.models)
    } else {
        let n = n - of_users;
        ("group", group(n % size.groups), (n / size.groups) % size.models)
    };
    let action = if n.is_multiple_of(20) { "manage" } else { "use" };
    let expires = if n.is_multiple_of(10) { Time(END) } else { Null };
    vec![
        Id(grant(n)),
        Id(model(model_number)),
        text(kind),
        Id(id),
        text(action),
        text("allow"),
        expires,
        Id(user(0)),
        CREATED,
    ]
}

async fn fill(db: &Db, table: &str, columns: &str, rows: impl Iterator<Item = Vec<Cell>>) {
    match db {
        Db::Postgres(pool) => {
            let mut connection = pool.unwatched().acquire().await.unwrap();
            sqlx::raw_sql("SET statement_timeout = 0").execute(&mut *connection).await.unwrap();
            let copy = format!("COPY {table} ({columns}) FROM STDIN");
            let mut sink = connection.copy_in_raw(&copy).await.unwrap();
            let mut lines = String::new();
            for row in rows {
                line(&mut lines, &row);
                if lines.len() > 1 << 20 {
                    sink.send(std::mem::take(&mut lines).into_bytes()).await.unwrap();
                }
            }
            sink.send(lines.into_bytes()).await.unwrap();
            sink.finish().await.unwrap();
            sqlx::raw_sql("RESET statement_timeout").execute(&mut *connection).await.unwrap();
        }
        Db::Sqlite(pool) => {
            let places: Vec<_> = (1..=columns.split(',').count()).map(|n| format!("${n}")).collect();
            let insert = format!("INSERT INTO {table} ({columns}) VALUES ({})", places.join(", "));
            let mut tx = pool.unwatched().begin().await.unwrap();
            for row in rows {
                let query = sqlx::query_with(AssertSqlSafe(insert.as_str()), arguments(row));
                query.execute(&mut *tx).await.unwrap();
            }
            tx.commit().await.unwrap();
        }
    }
}

fn line(lines: &mut String, row: &[Cell]) {
    for (place, cell) in row.iter().enumerate() {
        let between = if place == 0 { "" } else { "\t" };
        match cell {
            Id(id) => write!(lines, "{between}{id}"),
            Text(text) => write!(lines, "{between}{text}"),
            Bytes(bytes) => {
                write!(lines, "{between}\\\\x").unwrap();
                bytes.iter().try_for_each(|byte| write!(lines, "{byte:02x}"))
            }
            Number(number) => write!(lines, "{between}{number}"),
            Time(micros) => write!(lines, "{between}{}", jiff::Timestamp::from_microsecond(*micros).unwrap()),
            False => write!(lines, "{between}f"),
            Null => write!(lines, "{between}\\N"),
        }
        .unwrap();
    }
    lines.push('\n');
}

fn arguments(row: Vec<Cell>) -> SqliteArguments {
    let mut arguments = SqliteArguments::default();
    for cell in row {
        match cell {
            Id(id) => arguments.add(id),
            Text(text) => arguments.add(text),
            Bytes(bytes) => arguments.add(bytes.to_vec()),
            Number(number) | Time(number) => arguments.add(number),
            False => arguments.add(false),
            Null => arguments.add(None::<i64>),
        }
        .unwrap();
    }
    arguments
}
