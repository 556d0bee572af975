//! Encryption at rest: what a dump of the store does not tell, and how its keys are changed (A7).

use crate::world::{World, assert_refused, config, now, on_both_engines};
use permissions::{Config, MIGRATIONS, Permissions};
use proto::{common::v1::Role, permissions::v1 as pb};
use secrecy::{ExposeSecret, SecretString};
use shared::{db::Db, health::Health, on, seal::Sealer, server::Tasks};
use tonic::Code;

const EMAIL: &str = "ana.lopez@example.org";
const NAME: &str = "Ana López of Accounts";
const ADDRESS: &str = "203.0.113.77";

async fn person(world: &World) -> pb::User {
    let request = pb::CreateUserRequest {
        email: EMAIL.to_owned(),
        display_name: NAME.to_owned(),
        role: Role::Developer.into(),
        request_id: crate::world::uuid(),
        ..Default::default()
    };
    world.owner.users().create_user(request).await.unwrap().into_inner().user.unwrap()
}

/// Every value of every table, as the engine writes it out.
async fn dump(db: &Db) -> Vec<u8> {
    let mut dump = Vec::new();
    match db {
        Db::Postgres(pool) => {
            let tables: Vec<String> = sqlx::query_scalar(
                "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()",
            )
            .fetch_all(pool)
            .await
            .unwrap();
            for table in tables {
                let mut query =
                    sqlx::QueryBuilder::<sqlx::Postgres>::new("SELECT convert_to(t::text, 'UTF8') FROM ");
                query.push(&table).push(" t");
                let rows: Vec<Vec<u8>> = query.build_query_scalar().fetch_all(pool).await.unwrap();
                rows.into_iter().for_each(|row| dump.extend(row));
                // Bytes are written in hex; what they hold is looked for as it is.
                let mut query = sqlx::QueryBuilder::<sqlx::Postgres>::new(
                    "SELECT a.attname::text FROM pg_attribute a WHERE a.atttypid = 'bytea'::regtype AND a.attnum > 0 \
                    AND a.attrelid = to_regclass(",
                );
                query.push_bind(&table).push(")");
                let columns: Vec<String> = query.build_query_scalar().fetch_all(pool).await.unwrap();
                for column in columns {
                    let mut query = sqlx::QueryBuilder::<sqlx::Postgres>::new("SELECT coalesce(");
                    query.push(&column).push(", '') FROM ").push(&table);
                    let rows: Vec<Vec<u8>> = query.build_query_scalar().fetch_all(pool).await.unwrap();
                    rows.into_iter().for_each(|row| dump.extend(row));
                }
            }
        }
        Db::Sqlite(pool) => {
            let tables: Vec<String> =
                sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'")
                    .fetch_all(pool)
                    .await
                    .unwrap();
            for table in tables {
                let mut query =
                    sqlx::QueryBuilder::<sqlx::Sqlite>::new("SELECT name FROM pragma_table_info(");
                query.push_bind(&table).push(")");
                let columns: Vec<String> = query.build_query_scalar().fetch_all(pool).await.unwrap();
                for column in columns {
                    let mut query = sqlx::QueryBuilder::<sqlx::Sqlite>::new("SELECT CAST(coalesce(\"");
                    query.push(&column).push("\", '') AS blob) FROM \"").push(&table).push("\"");
                    let rows: Vec<Vec<u8>> = query.build_query_scalar().fetch_all(pool).await.unwrap();
                    rows.into_iter().for_each(|row| dump.extend(row));
                }
            }
        }
    }
    dump
}

fn holds(dump: &[u8], text: &str) -> bool {
    let (dump, text) = (dump.to_ascii_lowercase(), text.to_ascii_lowercase().into_bytes());
    dump.windows(text.len()).any(|window| window == text)
}

fn keys(keys: &[&SecretString]) -> Config {
    Config { encryption_keys: keys.iter().map(|key| (*key).clone()).collect(), ..config() }
}

async fn status(world: &World) -> pb::GetEncryptionStatusResponse {
    world.owner.privacy().get_encryption_status(pb::GetEncryptionStatusRequest {}).await.unwrap().into_inner()
}

/// Waits until the store needs the current key alone.
async fn complete(world: &World) -> pb::GetEncryptionStatusResponse {
    let converted = async {
        loop {
            let status = status(world).await;
            if status.complete {
                return status;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), converted)
        .await
        .expect("everything is converted")
}

async fn incident(world: &World) {
    let incident = pb::Incident {
        kind: pb::IncidentKind::SignInFailed.into(),
        address: ADDRESS.to_owned(),
        count: 1,
        first_time: Some(shared::time::to_proto(now())),
        ..Default::default()
    };
    let request = pb::RecordIncidentsRequest { incidents: vec![incident] };
    world.service().incidents().record_incidents(request).await.unwrap();
}

on_both_engines! {
    async fn a_dump_names_nobody(world: World) {
        let user = person(world).await;
        let key = pb::CreateKeyRequest { name: "key".to_owned(), user_id: user.user_id.clone(), request_id: crate::world::uuid(), ..Default::default() };
        let secret = world.owner.keys().create_key(key).await.unwrap().into_inner().secret;
        incident(world).await;
        let dump = dump(&world.db).await;
        assert!(holds(&dump, &user.user_id) || holds(&dump, &user.user_id.replace('-', "")), "the dump is one");
        for text in [EMAIL, "ana.lopez", NAME, "López", ADDRESS, &secret[8..], "owner@localhost"] {
            assert!(!holds(&dump, text), "{text} is in the dump");
        }
        let read = pb::GetUserRequest { user_id: user.user_id.clone() };
        let read = world.owner.users().get_user(read).await.unwrap().into_inner().user.unwrap();
        assert_eq!((read.email.as_str(), read.display_name.as_str()), (EMAIL, NAME));
    }

    async fn rows_of_before_are_sealed_before_anything_is_served(world: World) {
        let user = person(world).await;
        on!(&world.db, |pool| sqlx::query("UPDATE users SET email = $1, email_lower = $2, display_name = $3, seal = NULL \
            WHERE role = 'developer'").bind("Ana.Lopez@example.org").bind(EMAIL).bind(NAME).execute(pool).await.map(drop)).unwrap();
        let other = world.another().await;
        assert!(!holds(&dump(&world.db).await, "lopez"));
        let read = pb::GetUserRequest { user_id: user.user_id };
        let read = other.owner.users().get_user(read).await.unwrap().into_inner().user.unwrap();
        assert_eq!((read.email.as_str(), read.display_name.as_str()), ("Ana.Lopez@example.org", NAME));
        let again = pb::CreateUserRequest { email: EMAIL.to_uppercase(), display_name: NAME.to_owned(), ..Default::default() };
        assert_refused(other.owner.users().create_user(again).await, Code::AlreadyExists, "ALREADY_EXISTS");
        other.end().await;
    }

    async fn a_new_key_takes_over_and_the_old_one_may_go(world: World) {
        let user = person(world).await;
        incident(world).await;
        world.sql("DELETE FROM answers").await;
        let (old, new) = (config().encryption_keys[0].clone(), Sealer::generate());
        assert!(complete(world).await.complete);
        let rotated = world.another_with(&keys(&[&new, &old])).await;
        // Whichever key an address is kept under, it is taken.
        let again = || pb::CreateUserRequest { email: EMAIL.to_owned(), display_name: NAME.to_owned(), ..Default::default() };
        assert_refused(rotated.owner.users().create_user(again()).await, Code::AlreadyExists, "ALREADY_EXISTS");
        let status = complete(&rotated).await;
        assert_eq!(status.current_key, Sealer::new(std::slice::from_ref(&new)).unwrap().current());
        let only = rotated.another_with(&keys(&[&new])).await;
        let read = pb::GetUserRequest { user_id: user.user_id };
        let read = only.owner.users().get_user(read).await.unwrap().into_inner().user.unwrap();
        assert_eq!((read.email.as_str(), read.display_name.as_str()), (EMAIL, NAME));
        assert_refused(only.owner.users().create_user(again()).await, Code::AlreadyExists, "ALREADY_EXISTS");
        let at = pb::ListIncidentsRequest { address: ADDRESS.to_owned(), ..Default::default() };
        let found = only.owner.incidents().list_incidents(at).await.unwrap().into_inner().incidents;
        assert_eq!(found.iter().map(|one| one.address.as_str()).collect::<Vec<_>>(), [ADDRESS]);
        let (tasks, health) = (Tasks::default(), Health::default());
        let error = Permissions::start(&keys(&[&old]), world.db.clone(), &tasks, &health).await.unwrap_err();
        assert!(matches!(error, permissions::Error::Sealed(_)), "{error}");
        only.end().await;
        rotated.end().await;
    }

    async fn what_is_left_is_counted_until_it_is_gone(world: World) {
        person(world).await;
        let (old, new) = (config().encryption_keys[0].clone(), Sealer::generate());
        let rotated = world.another_with(&keys(&[&new, &old])).await;
        // The answer to the request that made the person is not sealed again: it is gone within a day.
        let left = async {
            loop {
                let status = status(&rotated).await;
                let rows = |table: &str| status.remaining.iter().find(|left| left.table == table).map(|left| left.rows);
                if rows("users") == Some(0) {
                    return (status.complete, rows("answers"), rows("head"));
                }
            }
        };
        let left = tokio::time::timeout(std::time::Duration::from_secs(20), left).await.unwrap();
        assert_eq!(left, (false, Some(1), Some(1)));
        rotated.end().await;
    }
}

#[tokio::test]
async fn nothing_that_is_shown_for_debugging_holds_a_secret() {
    let (password, key) = ("sw0rdfish-in-the-url", "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=");
    let config = Config { database: format!("postgres://u:{password}@h/d").into(), ..config() };
    let shown = format!("{config:?}");
    assert!(!shown.contains(password) && !shown.contains(key), "{shown}");
    let sealer = Sealer::new(&config.encryption_keys).unwrap();
    assert!(!format!("{sealer:?}").contains(key));
    let db = Db::memory(&MIGRATIONS).await.unwrap();
    let first = permissions::bootstrap(&db, now()).await.unwrap().unwrap();
    let secret = first.api_key.expose_secret().to_owned();
    let answers = [
        format!("{first:?}"),
        format!("{:?}", pb::CreateKeyResponse { secret: secret.clone(), ..Default::default() }),
        format!("{:?}", pb::RotateKeyResponse { secret: secret.clone(), ..Default::default() }),
        format!("{:?}", pb::VerifyKeyRequest { secret: secret.clone(), ..Default::default() }),
        format!("{:?}", shared::auth::ServiceToken::new(&secret.clone().into())),
        format!("{:?}", shared::auth::hash(&secret)),
    ];
    for shown in answers {
        assert!(!shown.contains(&secret), "{shown}");
    }
    let broken = Config { encryption_keys: vec![key[1..].into()], ..config };
    let (tasks, health) = (Tasks::default(), Health::default());
    let error = Permissions::start(&broken, db, &tasks, &health).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(&key[1..]));
}
