//! A store that the first version wrote goes through all migrations: what it knew is known, and its log goes on.

use crate::{
    audit::{all, audit, verify},
    watch::Follower,
    world::{World, now, on_both_engines},
};
use permissions::MIGRATIONS;
use policy::Policy;
use proto::permissions::v1 as pb;
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::{
    auth,
    db::{Db, Migrations, Time},
    on,
};
use sqlx::{migrate::Migrator, types::Json};
use uuid::Uuid;

/// What the first version's store holds: an owner, a member in a group, a model, and a grant to the group.
struct Old {
    owner: Uuid,
    key: Uuid,
    member: Uuid,
    group: Uuid,
    gone: Uuid,
    model: Uuid,
    grant: Uuid,
    revoked: Uuid,
    hash: Vec<u8>,
}

fn first(all: &Migrator) -> &'static Migrator {
    let migrations = all.iter().filter(|migration| migration.version == 1).cloned().collect();
    Box::leak(Box::new(Migrator::with_migrations(migrations)))
}

impl Old {
    fn new(secret: &str, owner: Uuid) -> Self {
        let [key, member, group, gone, model, grant, revoked] = std::array::from_fn(|_| Uuid::now_v7());
        let hash = hex::decode(serde_json::to_value(auth::hash(secret)).unwrap().as_str().unwrap()).unwrap();
        Self { owner, key, member, group, gone, model, grant, revoked, hash }
    }

    /// The events as the first version wrote them: the kind is the tag of the change.
    fn events(&self) -> Vec<(i64, i64, &'static str, Value)> {
        let user = |id, role| json!({"id": id, "role": role, "disabled": false});
        let membership = |expires_at: Option<i64>| json!({"group": self.group, "member": {"user": self.member}, "expires_at": expires_at});
        let grant = |id, grantee| {
            json!({"id": id, "grantee": grantee, "model": self.model, "action": "use", "effect": "allow",
                "starts_at": null, "expires_at": null})
        };
        let key = json!({"id": self.key, "hash": hex::encode(&self.hash), "owner": self.owner, "models": null,
            "expires_at": null, "disabled": false});
        let model = json!({"id": self.model, "name": "m", "owner": null, "state": "active"});
        let group = |id| json!({"id": id, "disabled": false});
        let changes = [
            (1, 0, "put_user", user(self.owner, "owner")),
            (1, 1, "put_key", key),
            (2, 0, "put_user", user(self.member, "member")),
            (3, 0, "put_group", group(self.group)),
            (4, 0, "put_membership", membership(Some(4_000_000_000_000_000))),
            (5, 0, "remove_membership", json!({"group": self.group, "member": {"user": self.member}})),
            (6, 0, "put_membership", membership(None)),
            (7, 0, "put_model", model),
            (8, 0, "put_grant", grant(self.grant, json!({"group": self.group}))),
            (9, 0, "put_grant", grant(self.revoked, json!("everyone"))),
            (10, 0, "remove_grant", json!(self.revoked)),
            (11, 0, "put_group", group(self.gone)),
            (12, 0, "remove_group", json!(self.gone)),
        ];
        changes.map(|(revision, ordinal, kind, fact)| (revision, ordinal, kind, json!({ kind: fact }))).into()
    }

    async fn write(&self, db: &Db) {
        let at = Time(now());
        macro_rules! run {
            ($sql:literal $(, $value:expr)*) => {
                on!(db, |pool| sqlx::query($sql)$(.bind($value))*.execute(pool).await.map(drop)).unwrap()
            };
        }
        const USER: &str = "INSERT INTO users (id, email, email_lower, display_name, role, created_at) \
            VALUES ($1, $2, $2, '', $3, $4)";
        for (id, role) in [(self.owner, "owner"), (self.member, "member")] {
            let email = format!("{id}@example.org");
            on!(db, |pool| sqlx::query(USER)
                .bind(id)
                .bind(&email)
                .bind(role)
                .bind(at)
                .execute(pool)
                .await
                .map(drop))
            .unwrap();
        }
        run!(
            "INSERT INTO groups (id, name, description, created_at) VALUES ($1, 'team', '', $2)",
            self.group,
            at
        );
        run!(
            "INSERT INTO memberships (group_id, member_kind, member_id) VALUES ($1, 'user', $2)",
            self.group,
            self.member
        );
        run!(
            "INSERT INTO models (id, name, description, state, created_at) VALUES ($1, 'm', '', 'active', $2)",
            self.model,
            at
        );
        run!(
            "INSERT INTO grants (id, model_id, grantee_kind, grantee_id, action, effect, created_at) \
                VALUES ($1, $2, 'group', $3, 'use', 'allow', $4)",
            self.grant,
            self.model,
            self.group,
            at
        );
        run!(
            "INSERT INTO keys (id, user_id, name, hash, hint, created_at) VALUES ($1, $2, 'first', $3, 'tgk_', $4)",
            self.key,
            self.owner,
            &self.hash[..],
            at
        );
        for (revision, ordinal, kind, payload) in self.events() {
            run!(
                "INSERT INTO events (revision, ordinal, kind, payload, actor, request_id, reason, occurred_at) \
                    VALUES ($1, $2, $3, $4, 'first-run', 'r', 'old', $5)",
                revision,
                ordinal,
                kind,
                Json(payload),
                at
            );
        }
        run!("UPDATE head SET revision = $1", 12_i64);
    }

    /// Kind, id and action of each event, as they are now.
    fn told(&self) -> Vec<(&'static str, String, &'static str)> {
        let (put, gone) = ("updated", "deleted");
        [
            ("user", self.owner, put),
            ("key", self.key, put),
            ("user", self.member, put),
            ("group", self.group, put),
            ("group", self.group, "member_added"),
            ("group", self.group, "member_removed"),
            ("group", self.group, "member_added"),
            ("model", self.model, put),
            ("grant", self.grant, put),
            ("grant", self.revoked, put),
            ("grant", self.revoked, gone),
            ("group", self.gone, put),
            ("group", self.gone, gone),
        ]
        .map(|(kind, id, action)| (kind, id.to_string(), action))
        .into()
    }
}

/// The store of the first version, with everything that this version adds.
async fn upgraded(world: &World, old: &Old, folder: &std::path::Path) -> (Db, &'static str) {
    let schema: &'static str = Box::leak(format!("test_{}", Uuid::new_v4().simple()).into_boxed_str());
    let url = match &world.db {
        Db::Postgres(_) => tests::postgres::url().to_owned(),
        Db::Sqlite(_) => format!("sqlite:{}", folder.join("old.db").display()),
    };
    let url = SecretString::from(url);
    let only = Migrations { postgres: first(MIGRATIONS.postgres), sqlite: first(MIGRATIONS.sqlite) };
    let db = Db::open(&url, schema, &only).await.unwrap();
    old.write(&db).await;
    db.close().await;
    (Db::open(&url, schema, &MIGRATIONS).await.unwrap(), schema)
}

on_both_engines! {
    async fn a_store_of_the_first_version_is_taken_over(world: World) {
        let folder = tempfile::tempdir().unwrap();
        let old = Old::new(&world.owner.secret, world.owner.id.parse().unwrap());
        let (db, schema) = upgraded(world, &old, folder.path()).await;
        let new = world.another_on(db.clone(), &crate::world::config()).await;

        let oldest_first = pb::ListEventsRequest { oldest_first: true, ..Default::default() };
        let events = all(&new.owner, oldest_first.clone()).await;
        // Behind it, this version has added keys that sign.
        let (old_events, added) = events.split_at(13);
        let told: Vec<_> =
            old_events.iter().map(|event| (event.kind.as_str(), event.id.clone(), event.action.as_str())).collect();
        assert_eq!(told, old.told());
        assert!(old_events.iter().all(|event| event.link.is_empty() && event.reason == "old" && event.change.is_some()));
        assert!(!format!("{events:?}").contains(&hex::encode(&old.hash)));

        // The log leads to what the tables say, and the past can be asked about.
        let mut fresh = Follower::new(&new.service()).await;
        fresh.catch_up().await;
        let mut log = Follower::resume(&new.service(), fresh.epoch.clone(), 0, Policy::new()).await;
        log.until(fresh.revision).await;
        assert_eq!((log.snapshots, log.policy.canonical()), (0, fresh.policy.canonical()));
        for (revision, verdict) in [(4, pb::Verdict::Denied), (8, pb::Verdict::Allowed), (12, pb::Verdict::Allowed)] {
            let request = pb::CheckAtRequest {
                user_id: old.member.to_string(),
                model_id: old.model.to_string(),
                action: pb::Action::Use.into(),
                at: Some(pb::check_at_request::At::Revision(revision)),
            };
            assert_eq!(audit(&new.owner).check_at(request).await.unwrap().into_inner().verdict(), verdict, "{revision}");
        }

        // The chain begins with the first change of this version.
        new.group("new").await;
        let found = verify(&new, 0, 0).await;
        let chained = u64::try_from(added.len()).unwrap() + 1;
        assert_eq!((found.unchained, found.checked, found.fault), (13, chained, None));
        let events = all(&new.owner, oldest_first).await;
        assert!(events[13..].iter().all(|event| event.link.len() == 64));
        new.end().await;
        if let Db::Postgres(pool) = &db {
            let mut drop = sqlx::QueryBuilder::<sqlx::Postgres>::new("DROP SCHEMA ");
            drop.push(schema).push(" CASCADE").build().execute(pool).await.unwrap();
        }
    }
}
