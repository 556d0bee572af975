//! What takes long: slow statements are listed with what would help (P11), and a deadline that passes is said (P9).

use crate::world::{World, assert_refused, config};
use permissions::MIGRATIONS;
use proto::{
    common::v1::Role,
    permissions::v1::{
        CreateGroupRequest, ListSlowQueriesRequest, SlowQuery, database_service_client::DatabaseServiceClient,
    },
};
use secrecy::SecretString;
use shared::{
    db::{Db, Options},
    on, on_tx,
};
use std::time::Duration;
use tests::until;
use tonic::{Code, Request};
use uuid::Uuid;

const SLOW: &str = "SELECT COUNT(*) FROM grants WHERE granted_by = $1";

/// A database for which every statement is slow.
async fn impatient(url: &str, schema: &'static str) -> Db {
    let options = Options { slow_after: Duration::ZERO, ..Options::default() };
    Db::open_with(&SecretString::from(url), schema, &MIGRATIONS, options).await.unwrap()
}

async fn slow_statements_are_listed(world: &World) {
    let secret = Uuid::new_v4();
    for _ in 0..3 {
        on!(&world.db, |pool| sqlx::query_scalar::<_, i64>(SLOW).bind(secret).fetch_one(pool).await).unwrap();
    }
    let operator = world.user(Role::Operator).await;
    let find = async || -> Option<SlowQuery> {
        let mut database = DatabaseServiceClient::new(operator.channel());
        let listed = database.list_slow_queries(ListSlowQueriesRequest {}).await.unwrap().into_inner();
        assert!(listed.slow_queries.len() <= 100);
        assert!(!format!("{listed:?}").contains(&secret.to_string()), "values are kept nowhere");
        listed.slow_queries.into_iter().find(|query| query.statement == SLOW && !query.plan.is_empty())
    };
    // The plan comes a moment later, when there is a place among those that are asked for.
    let query = until("the plan of a slow statement", async || {
        let found = find().await;
        if found.is_none() {
            on!(&world.db, |pool| sqlx::query_scalar::<_, i64>(SLOW).bind(secret).fetch_one(pool).await)
                .unwrap();
        }
        found
    })
    .await;
    assert!(query.count >= 3 && query.slowest.is_some() && query.last_time.is_some(), "{query:?}");
    assert!(query.plan.to_lowercase().contains("scan"), "{query:?}");
    let hint = "sequential scan on grants filtered by (granted_by): consider an index on grants (granted_by)";
    assert_eq!(query.hint, hint);
}

#[tokio::test]
async fn slow_statements_are_listed_with_plan_and_hint_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let db = impatient(&format!("sqlite:{}", folder.path().join("slow.db").display()), "permissions").await;
    let world = World::on(db, None, &config()).await;
    slow_statements_are_listed(&world).await;
    world.end().await;
}

#[tokio::test]
async fn slow_statements_are_listed_with_plan_and_hint_on_postgresql() {
    let schema: &'static str = Box::leak(format!("slow_{}", Uuid::new_v4().simple()).into_boxed_str());
    let world = World::on(impatient(tests::postgres::url(), schema).await, Some(schema), &config()).await;
    slow_statements_are_listed(&world).await;
    world.end().await;
}

#[tokio::test]
async fn a_change_that_is_held_up_beyond_its_deadline_is_told_so_and_nobody_else_is_refused() {
    let world = World::postgres().await;
    let mut lock = world.db.begin().await.unwrap();
    const LOCK: &str = "SELECT id FROM head FOR UPDATE";
    on_tx!(&mut lock, |on| sqlx::query(LOCK).execute(on).await.map(drop)).unwrap();
    let create = async |seconds: u64| {
        let mut request = Request::new(CreateGroupRequest { name: "team".into(), ..Default::default() });
        request.set_timeout(Duration::from_secs(seconds));
        world.owner.groups().create_group(request).await
    };
    for _ in 0..5 {
        assert_refused(create(1).await, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
        world.owner.groups().list_groups(proto::permissions::v1::ListGroupsRequest::default()).await.unwrap();
    }
    drop(lock);
    create(20).await.unwrap();
    world.end().await;
}
