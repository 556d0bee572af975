//! An empty store gets one owner and one key; one with users is left alone.

use crate::world::{now, on_both_engines};
use policy::Role;
use proto::permissions::v1 as pb;
use secrecy::ExposeSecret;
use shared::auth::{self, Credential, Verify};

on_both_engines! {
    async fn the_first_run_makes_an_owner_once(world: World) {
        assert!(permissions::bootstrap(&world.db, now()).await.unwrap().is_none());
        let listed = world.owner.users().list_users(pb::ListUsersRequest::default()).await.unwrap().into_inner();
        assert_eq!(listed.users.len(), 1);
        let owner = &listed.users[0];
        assert_eq!((owner.email.as_str(), owner.user_id.as_str()), ("owner@localhost", world.owner.id.as_str()));
        let keys = world.owner.keys().list_keys(pb::ListKeysRequest::default()).await.unwrap().into_inner().keys;
        assert_eq!(keys.len(), 1);
        assert!(world.owner.secret.starts_with("tgk_") && world.owner.secret.starts_with(&keys[0].hint));
        assert_eq!(keys[0].hint.len(), 8);
    }
}

#[tokio::test]
async fn the_password_is_kept_as_argon2id_only_and_no_secret_is_shown_by_debug() {
    let db = shared::db::Db::memory(&permissions::MIGRATIONS).await.unwrap();
    let first = permissions::bootstrap(&db, now()).await.unwrap().unwrap();
    let shown = format!("{first:?}");
    let (password, key) = (first.owner_password.expose_secret(), first.api_key.expose_secret());
    assert!(!shown.contains(password) && !shown.contains(key));
    let shared::db::Db::Sqlite(pool) = &db else { panic!("memory is SQLite") };
    let hash: String = sqlx::query_scalar("SELECT password_hash FROM users").fetch_one(pool).await.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$") && !hash.contains(password));
    let hashed = argon2::PasswordVerifier::verify_password(
        &argon2::Argon2::default(),
        password.as_bytes(),
        &argon2::PasswordHash::new(&hash).unwrap(),
    );
    assert!(hashed.is_ok());
}

#[tokio::test]
async fn two_processes_at_once_make_one_owner() {
    let db = shared::db::Db::memory(&permissions::MIGRATIONS).await.unwrap();
    let time = now();
    let (one, other) = tokio::join!(permissions::bootstrap(&db, time), permissions::bootstrap(&db, time));
    assert_eq!([one.unwrap(), other.unwrap()].iter().flatten().count(), 1);
}

#[tokio::test]
async fn the_verifier_knows_the_key_of_the_first_run() {
    let db = shared::db::Db::memory(&permissions::MIGRATIONS).await.unwrap();
    let first = permissions::bootstrap(&db, now()).await.unwrap().unwrap();
    let (tasks, health) = (shared::server::Tasks::default(), shared::health::Health::default());
    let config = crate::world::config();
    let service = permissions::Permissions::start(&config, db, &tasks, &health).await.unwrap();
    let person =
        service.verifier().verify(Credential::of(first.api_key.expose_secret()), None).await.unwrap();
    assert_eq!((person.user, person.role), (first.user_id, Role::Owner));
    let unknown = service.verifier().verify(Credential::of("tgk_unknown"), None).await;
    assert_eq!(unknown, Err(auth::Refusal::Unknown));
    health.until_ready().await;
    assert!(health.ready().ok);
}
