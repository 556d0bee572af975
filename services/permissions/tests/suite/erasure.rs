//! Erasing a person: what is known is gone, what happened stays whole (N2).

use crate::{
    sessions,
    world::{Caller, World, assert_invalid, assert_missing, assert_refused, now, on_both_engines, uuid},
};
use proto::{
    common::v1::Role,
    permissions::v1::{
        self as pb, access_request_service_client::AccessRequestServiceClient,
        audit_service_client::AuditServiceClient,
    },
};
use shared::{
    db::{Db, Time},
    event::{Event, Link},
    on,
};
use sqlx::types::Json;
use tonic::Code;
use uuid::Uuid;

fn erase(user: &str) -> pb::EraseUserRequest {
    pb::EraseUserRequest { user_id: user.to_owned(), confirm: user.to_owned(), ..Default::default() }
}

async fn get(caller: &Caller, user: &str) -> pb::User {
    let request = pb::GetUserRequest { user_id: user.to_owned() };
    caller.users().get_user(request).await.unwrap().into_inner().user.unwrap()
}

/// Follows the chain of events from its beginning to the head.
async fn assert_chain_holds(db: &Db) {
    type Row = (
        i64,
        i64,
        String,
        String,
        String,
        Option<Json<serde_json::Value>>,
        Option<Json<serde_json::Value>>,
        Option<Json<serde_json::Value>>,
        String,
        Option<uuid::Uuid>,
        String,
        String,
        shared::db::Time,
    );
    let rows: Vec<Row> = on!(db, |pool| {
        sqlx::query_as(
            "SELECT revision, ordinal, kind, id, action, before, after, change, actor, key_id, request_id, reason, \
            occurred_at FROM events ORDER BY revision, ordinal",
        )
        .fetch_all(pool)
        .await
    })
    .unwrap();
    let mut link = Link::FIRST;
    for row in rows {
        link = link.then(&Event {
            revision: policy::Revision(u64::try_from(row.0).unwrap()),
            ordinal: u32::try_from(row.1).unwrap(),
            kind: row.2,
            id: row.3,
            action: row.4,
            before: row.5.map(|json| json.0),
            after: row.6.map(|json| json.0),
            change: row.7.map(|json| json.0),
            actor: row.8,
            key: row.9.map(|id| id.to_string()),
            request_id: row.10,
            reason: row.11,
            at: row.12.0,
        });
    }
    let head: Vec<u8> =
        on!(db, |pool| sqlx::query_scalar("SELECT link FROM head").fetch_one(pool).await).unwrap();
    assert_eq!(link.0.as_slice(), head);
}

/// In everything that the person says and is called.
const MARK: &str = "Anastasia-of-the-erasure";

/// What may not refer to somebody who is erased: tables, and the condition on whose ids `$1` is.
const REFERENCES: [(&str, &str); 8] = [
    ("memberships", "member_id = $1"),
    ("grants", "grantee_id = $1"),
    ("models", "owner_id = $1"),
    ("model_sets", "owner_id = $1"),
    ("identities", "user_id = $1"),
    ("identity_memberships", "user_id = $1"),
    ("notifications", "user_id = $1"),
    ("access_requests", "requester = $1 AND state = 'pending'"),
];

/// What somebody had part in.
struct Parts {
    model: String,
    deleted_group: String,
}

fn password(user: &str) -> pb::SetPasswordRequest {
    let new_password = sessions::PASSWORD.to_owned();
    pb::SetPasswordRequest { user_id: user.to_owned(), new_password, ..Default::default() }
}

/// Makes somebody a member, an owner, a grantee, known at a provider, and lets them ask and say things.
async fn take_part(world: &World, ana: &Caller) -> Parts {
    let owner = &world.owner;
    let (group, deleted_group) = (world.group(&uuid()).await, world.group(&uuid()).await);
    for group_id in [&group, &deleted_group] {
        let member = Some(pb::membership::Member::UserId(ana.id.clone()));
        let membership = Some(pb::Membership { member, ..Default::default() });
        let request = pb::AddMemberRequest { group_id: group_id.clone(), membership, ..Default::default() };
        owner.groups().add_member(request).await.unwrap();
    }
    let delete = pb::DeleteGroupRequest { group_id: deleted_group.clone(), ..Default::default() };
    owner.groups().delete_group(delete).await.unwrap();
    let (granted, model, asked) =
        (world.model(&uuid()).await, world.model(&uuid()).await, world.model(&uuid()).await);
    world.allow(&ana.id, &granted).await;
    let owned_by = Some(pb::ModelOwner { owner: Some(pb::model_owner::Owner::UserId(ana.id.clone())) });
    let own = pb::UpdateModelRequest { model_id: model.clone(), owner: owned_by, ..Default::default() };
    owner.models().update_model(own).await.unwrap();
    let set = pb::CreateModelSetRequest { name: uuid(), ..Default::default() };
    ana.sets().create_model_set(set).await.unwrap();
    let justification = format!("I, {MARK}, need it");
    let ask = pb::CreateAccessRequestRequest {
        model_id: asked,
        action: pb::Action::Use.into(),
        justification,
        ..Default::default()
    };
    let requests = || AccessRequestServiceClient::new(ana.channel());
    let asked = requests().create_access_request(ask).await.unwrap().into_inner().access_request.unwrap();
    let comment = pb::CommentAccessRequestRequest {
        access_request_id: asked.access_request_id.clone(),
        text: format!("{MARK} says more"),
        ..Default::default()
    };
    requests().comment_access_request(comment).await.unwrap();
    let comment = pb::CommentAccessRequestRequest {
        access_request_id: asked.access_request_id,
        text: format!("to {MARK}: why?"),
        ..Default::default()
    };
    AccessRequestServiceClient::new(owner.channel()).comment_access_request(comment).await.unwrap();
    let key =
        pb::CreateKeyRequest { name: format!("laptop of {MARK}"), request_id: uuid(), ..Default::default() };
    ana.keys().create_key(key).await.unwrap();
    let user = Uuid::try_parse(&ana.id).unwrap();
    let (id, group, at) = (Uuid::now_v7(), Uuid::try_parse(&group).unwrap(), Time(now()));
    on!(&world.db, |pool| sqlx::query(
        "INSERT INTO identities (id, provider, subject, user_id, created_at, last_used_at) \
            VALUES ($1, 'corp', 'subject-of-the-person', $2, $3, $3)"
    )
    .bind(id)
    .bind(user)
    .bind(at)
    .execute(pool)
    .await
    .map(drop))
    .unwrap();
    on!(&world.db, |pool| sqlx::query(
        "INSERT INTO identity_memberships (identity_id, group_id, user_id) VALUES ($1, $2, $3)"
    )
    .bind(id)
    .bind(group)
    .bind(user)
    .execute(pool)
    .await
    .map(drop))
    .unwrap();
    Parts { model, deleted_group }
}

/// Looks for words in every column of every table, written as text whatever they are.
async fn assert_no_word(db: &Db, words: &[&str]) {
    let tables: Vec<String> = match db {
        Db::Postgres(pool) => sqlx::query_scalar(
            "SELECT table_name::text FROM information_schema.tables \
                WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'",
        )
        .fetch_all(pool)
        .await
        .unwrap(),
        Db::Sqlite(pool) => sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table'")
            .fetch_all(pool)
            .await
            .unwrap(),
    };
    assert!(tables.len() > 20, "{tables:?}");
    for table in tables {
        for row in rows(db, &table).await {
            for word in words {
                assert!(!row.contains(word), "{word} is in {table}: {row}");
            }
        }
    }
}

/// Every row of a table as text; what bytes spell is spelled out.
async fn rows(db: &Db, table: &str) -> Vec<String> {
    match db {
        Db::Postgres(pool) => {
            let query =
                format!("SELECT t::text || ' ' || encode(t::text::bytea, 'escape') FROM \"{table}\" t");
            let rows: Vec<String> =
                sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(pool).await.unwrap();
            rows.into_iter().map(|row| row.clone() + &unhexed(&row)).collect()
        }
        Db::Sqlite(pool) => {
            let names: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info($1)")
                .bind(table)
                .fetch_all(pool)
                .await
                .unwrap();
            let columns: Vec<_> =
                names.iter().map(|name| format!("coalesce(CAST(\"{name}\" AS BLOB), x'')")).collect();
            let mut rows = Vec::new();
            for column in columns {
                let query = format!("SELECT {column} FROM \"{table}\"");
                let bytes: Vec<Vec<u8>> =
                    sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(pool).await.unwrap();
                rows.extend(bytes.into_iter().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
            }
            rows
        }
    }
}

/// What the bytes of a row spell: PostgreSQL writes them as `\\x…`.
fn unhexed(row: &str) -> String {
    let parts = row.split("\\x").skip(1);
    let digits = parts.map(|part| part.chars().take_while(char::is_ascii_hexdigit).collect::<String>());
    digits
        .filter_map(|digits| hex::decode(digits).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect()
}

async fn references(db: &Db, table: &str, condition: &str, user: &str) -> i64 {
    let query = format!("SELECT count(*) FROM {table} WHERE {condition}");
    let user = Uuid::try_parse(user).unwrap();
    on!(db, |pool| sqlx::query_scalar(sqlx::AssertSqlSafe(query)).bind(user).fetch_one(pool).await).unwrap()
}

/// What has happened to which kind of thing.
async fn actions_on(db: &Db) -> Vec<(String, String)> {
    on!(db, |pool| sqlx::query_as("SELECT DISTINCT kind, action FROM events").fetch_all(pool).await).unwrap()
}

async fn count(db: &Db, query: &'static str) -> i64 {
    on!(db, |pool| sqlx::query_scalar(query).fetch_one(pool).await).unwrap()
}

on_both_engines! {
    async fn an_erased_person_is_an_id_and_nothing_else(world: World) {
        let member = world.user(Role::Developer).await;
        let email = get(&world.owner, &member.id).await.email;
        let request = pb::SetPasswordRequest { user_id: member.id.clone(), new_password: sessions::PASSWORD.to_owned(), ..Default::default() };
        world.owner.sessions().set_password(request).await.unwrap();
        let session = world.with_secret(&sessions::sign_in(world, &email, sessions::PASSWORD).await.access_token);
        session.keys().list_keys(pb::ListKeysRequest::default()).await.unwrap();
        let key = pb::CreateKeyRequest { name: "Ana's laptop".to_owned(), request_id: uuid(), ..Default::default() };
        member.keys().create_key(key).await.unwrap();
        let seen = pb::Incident {
            kind: pb::IncidentKind::CallRefused.into(), actor: member.id.clone(), address: "203.0.113.9".to_owned(),
            count: 2, first_time: Some(shared::time::to_proto(now())), ..Default::default()
        };
        let request = pb::RecordIncidentsRequest { incidents: vec![seen] };
        world.service().incidents().record_incidents(request).await.unwrap();
        let answer = world.owner.privacy().erase_user(erase(&member.id)).await.unwrap().into_inner();
        assert_eq!((answer.erased, answer.revoked_keys), (true, 2));

        let after = get(&world.owner, &member.id).await;
        assert_eq!((after.email.as_str(), after.display_name.as_str(), after.disabled), ("", "", true));
        assert_eq!(after.role(), Role::Member);
        assert_refused(member.keys().list_keys(pb::ListKeysRequest::default()).await, Code::Unauthenticated, "KEY_REVOKED");
        assert_refused(session.keys().list_keys(pb::ListKeysRequest::default()).await, Code::Unauthenticated, "SESSION_ENDED");
        assert_eq!(count(&world.db, "SELECT count(*) FROM sessions WHERE length(client) > 0").await, 0);
        let of = pb::ListKeysRequest { user_id: member.id.clone(), ..Default::default() };
        let keys = world.owner.keys().list_keys(of).await.unwrap().into_inner().keys;
        assert!(keys.len() == 2 && keys.iter().all(|key| key.name == "erased" && key.hint.is_empty()));
        assert_eq!(count(&world.db, "SELECT count(*) FROM answers").await, 0);
        let by = pb::ListIncidentsRequest { actor: member.id.clone(), ..Default::default() };
        let incidents = world.owner.incidents().list_incidents(by).await.unwrap().into_inner().incidents;
        assert_eq!(incidents.iter().map(|one| (one.address.as_str(), one.count)).collect::<Vec<_>>(), [("", 2)]);
        assert_eq!(count(&world.db, "SELECT count(*) FROM events WHERE action = 'erased' AND kind = 'user'").await, 1);
        assert_chain_holds(&world.db).await;

        // Once more changes nothing, a process that starts has nothing to seal, and the address is free again.
        let events = count(&world.db, "SELECT count(*) FROM events").await;
        let again = world.owner.privacy().erase_user(erase(&member.id)).await.unwrap().into_inner();
        assert_eq!((again.erased, count(&world.db, "SELECT count(*) FROM events").await), (false, events));
        let back = pb::UpdateUserRequest { user_id: member.id.clone(), disabled: Some(false), ..Default::default() };
        assert_missing(world.owner.users().update_user(back).await, "user", &member.id);
        let other = world.another().await;
        assert_eq!(get(&other.owner, &member.id).await.email, "");
        let new = pb::CreateUserRequest { email, display_name: "Somebody".to_owned(), ..Default::default() };
        other.owner.users().create_user(new).await.unwrap();
        other.end().await;
    }

    async fn what_a_person_had_part_in_ends_by_events_and_no_table_keeps_a_word(world: World) {
        let ana = world.user(Role::Developer).await;
        let email = get(&world.owner, &ana.id).await.email;
        let rename = pb::UpdateUserRequest { user_id: ana.id.clone(), display_name: Some(MARK.to_owned()), ..Default::default() };
        world.owner.users().update_user(rename).await.unwrap();
        world.owner.sessions().set_password(password(&ana.id)).await.unwrap();
        let mut request = tonic::Request::new(pb::SignInRequest { email: email.clone(), password: sessions::PASSWORD.to_owned() });
        request.metadata_mut().insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
        world.nobody().sessions().sign_in(request).await.unwrap();
        let own = take_part(world, &ana).await;
        let second = world.another().await;
        let erased = world.owner.privacy().erase_user(erase(&ana.id)).await.unwrap().into_inner();
        assert!(erased.erased);

        let words = [MARK, email.as_str(), "203.0.113.9", "subject-of-the-person"];
        assert_no_word(&world.db, &words).await;
        for (table, columns) in REFERENCES {
            assert_eq!(references(&world.db, table, columns, &ana.id).await, 0, "{table} by {columns}");
        }
        let actions = actions_on(&world.db).await;
        for (kind, action) in [("group", "member_removed"), ("grant", "revoked"), ("access_request", "cancelled"),
            ("identity", "unlinked"), ("key", "revoked"), ("user", "erased")] {
            assert!(actions.contains(&(kind.to_owned(), action.to_owned())), "{kind} {action} in {actions:?}");
        }
        assert_chain_holds(&world.db).await;

        // Another process has heard of it by its events: nobody is in the group, owns or may use the model there.
        let token = erased.token;
        let fresh = pb::Consistency { requirement: Some(pb::consistency::Requirement::AtLeastAsFresh(token)) };
        let ask = pb::ListSubjectsRequest {
            model_id: own.model.clone(), action: pb::Action::Use.into(), consistency: Some(fresh), ..Default::default()
        };
        for process in [world, &second] {
            let found = process.owner.authorization().list_subjects(ask.clone()).await.unwrap().into_inner();
            assert!(!found.subjects.iter().any(|subject| format!("{subject:?}").contains(&ana.id)), "{found:?}");
            let model = process.owner.models().get_model(pb::GetModelRequest { model_id: own.model.clone() }).await;
            assert!(model.unwrap().into_inner().model.unwrap().owner.is_none());
        }
        // What was hidden with something deleted does not come back with it.
        let undelete = pb::UndeleteGroupRequest { group_id: own.deleted_group.clone(), ..Default::default() };
        world.owner.groups().undelete_group(undelete).await.unwrap();
        let request = pb::ListMembersRequest { group_id: own.deleted_group, ..Default::default() };
        assert!(world.owner.groups().list_members(request).await.unwrap().into_inner().memberships.is_empty());
        // A process that starts anew reads the same from the tables as those which followed the events.
        let third = world.another().await;
        let state = async |process: &World| {
            let request = pb::GetStateAtRequest { page_size: 1_000, ..Default::default() };
            AuditServiceClient::new(process.owner.channel()).get_state_at(request).await.unwrap().into_inner().counts
        };
        assert_eq!(state(&third).await, state(world).await);
        second.end().await;
        third.end().await;
    }

    async fn who_was_deleted_can_be_erased_and_stays_deleted(world: World) {
        let ana = world.user(Role::Developer).await;
        let email = get(&world.owner, &ana.id).await.email;
        take_part(world, &ana).await;
        let delete = pb::DeleteUserRequest { user_id: ana.id.clone(), ..Default::default() };
        world.owner.users().delete_user(delete).await.unwrap();
        assert!(world.owner.privacy().erase_user(erase(&ana.id)).await.unwrap().into_inner().erased);
        assert_no_word(&world.db, &[MARK, email.as_str(), "subject-of-the-person"]).await;
        for (table, columns) in REFERENCES {
            assert_eq!(references(&world.db, table, columns, &ana.id).await, 0, "{table} by {columns}");
        }
        let back = pb::UndeleteUserRequest { user_id: ana.id.clone(), ..Default::default() };
        assert_missing(world.owner.users().undelete_user(back).await, "user", &ana.id);
        assert!(!world.owner.privacy().erase_user(erase(&ana.id)).await.unwrap().into_inner().erased, "once is enough");
        assert_chain_holds(&world.db).await;
        world.age("UPDATE users SET deleted_at = $1 WHERE deleted_at IS NOT NULL").await;
        let other = world.another().await;
        let gone = async { while count(&world.db, "SELECT count(*) FROM users WHERE erased_at IS NOT NULL").await > 0 {} };
        tokio::time::timeout(std::time::Duration::from_secs(20), gone).await.expect("it is purged");
        other.end().await;
    }

    async fn what_is_past_its_time_is_gone(world: World) {
        let seen = pb::Incident {
            kind: pb::IncidentKind::Other.into(), count: 1,
            first_time: Some(crate::world::in_seconds(-100 * 86_400)), ..Default::default()
        };
        let fresh = pb::Incident { first_time: Some(crate::world::in_seconds(0)), ..seen.clone() };
        let request = pb::RecordIncidentsRequest { incidents: vec![seen, fresh] };
        world.service().incidents().record_incidents(request).await.unwrap();
        // A process that starts sweeps at once.
        let other = world.another().await;
        let kinds = async || {
            let answer = world.owner.privacy().get_retention(pb::GetRetentionRequest {}).await.unwrap().into_inner();
            answer.kinds.into_iter().map(|kind| (kind.kind, kind.kept.unwrap().seconds / 86_400, kind.due)).collect::<Vec<_>>()
        };
        let expected = [("incidents", 90, 0), ("answers", 1, 0), ("ended_sessions", 30, 0), ("deleted", 30, 0)];
        let expected = expected.map(|(kind, days, due)| (kind.to_owned(), days, due));
        let swept = async { while kinds().await != expected {} };
        tokio::time::timeout(std::time::Duration::from_secs(20), swept).await.expect("it is swept");
        let rest = world.owner.incidents().list_incidents(pb::ListIncidentsRequest::default()).await.unwrap().into_inner();
        assert_eq!(rest.incidents.len(), 1);
        other.end().await;
    }
}

#[tokio::test]
async fn nobody_is_erased_by_mistake_or_by_those_who_may_not() {
    let world = World::sqlite().await;
    let (admin, member) = (world.user(Role::Admin).await, world.user(Role::Member).await);
    let mistaken = pb::EraseUserRequest { confirm: admin.id.clone(), ..erase(&member.id) };
    assert_invalid(world.owner.privacy().erase_user(mistaken).await, "confirm");
    assert_invalid(
        world
            .owner
            .privacy()
            .erase_user(pb::EraseUserRequest { confirm: String::new(), ..erase(&member.id) })
            .await,
        "confirm",
    );
    let nobody = uuid();
    assert_missing(world.owner.privacy().erase_user(erase(&nobody)).await, "user", &nobody);
    let refused = admin.privacy().erase_user(erase(&world.owner.id)).await;
    assert_refused(refused, Code::PermissionDenied, "OWNER_REQUIRED");
    let refused = world.owner.privacy().erase_user(erase(&world.owner.id)).await;
    assert_refused(refused, Code::FailedPrecondition, "LAST_OWNER");
    let validate = pb::EraseUserRequest { validate_only: true, ..erase(&member.id) };
    assert!(world.owner.privacy().erase_user(validate).await.unwrap().into_inner().erased);
    assert_ne!(get(&world.owner, &member.id).await.email, "");
    admin.privacy().erase_user(erase(&member.id)).await.unwrap();
}
