//! Every method against every kind of caller, held against the contract's access table (A5, A6), and the table as
//! people read it: `docs/access.md`.

use crate::{
    sessions::signed_in,
    world::{Caller, World, assert_refused},
};
use proto::common::v1::{Role, Scope};
use proto::permissions::v1 as pb;
use std::fmt::Write;
use tonic::{Code, Request, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

const ROLES: [Role; 6] =
    [Role::Owner, Role::Admin, Role::Operator, Role::Auditor, Role::Developer, Role::Member];

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/access.md");

fn rows() -> impl Iterator<Item = &'static proto::Row> {
    proto::ACCESS.iter().filter(|row| row.path.starts_with("/tollgate.permissions."))
}

/// Calls a method with an empty message. Whether that is valid does not matter here: authentication comes first.
async fn call(caller: &Caller, path: &'static str) -> Result<tonic::Response<()>, tonic::Status> {
    let mut grpc = tonic::client::Grpc::new(caller.channel());
    grpc.ready().await.unwrap();
    let codec = ProstCodec::<(), ()>::default();
    let answer = grpc.server_streaming(Request::new(()), PathAndQuery::from_static(path), codec).await;
    answer.map(|_| tonic::Response::new(()))
}

/// Whether the layer let the call through, by what only the layer says.
async fn admitted(caller: &Caller, path: &'static str) -> bool {
    match call(caller, path).await {
        Ok(_) => true,
        Err(status) => {
            let reason = shared::status::reason(&status);
            !["ROLE_NOT_ALLOWED", "SCOPE_MISSING", "CREDENTIAL_MISSING", "KEY_UNKNOWN", "SERVICE_TOKEN_WRONG"]
                .contains(&reason.as_str())
                || (status.code() == Code::Unauthenticated && is_own_refusal(path))
        }
    }
}

/// Signing out without any token is refused by the method itself.
fn is_own_refusal(path: &str) -> bool {
    path.ends_with("/SignOut")
}

#[tokio::test]
async fn every_method_lets_in_whom_the_table_names_and_nobody_else() {
    let world = World::sqlite().await;
    let mut callers = Vec::new();
    for role in ROLES {
        callers.push((role, world.user(role).await));
        callers.push((role, signed_in(&world, role).await.0));
    }
    let strangers = ["tgk_wrong", "tgs_wrong", "x", " ", "eyJ.e30.x", "tgr_wrong"];
    assert!(rows().count() >= 35, "the table covers the package");
    // What these do to the callers is not what is asked here.
    let last = |path: &str| path.ends_with("/EndSessions") || path.ends_with("/SignOut");
    let mut rows: Vec<_> = rows().collect();
    rows.sort_by_key(|row| last(row.path));
    for row in rows {
        for (role, caller) in &callers {
            let named = row.public || row.roles.contains(&i32::from(*role));
            assert_eq!(admitted(caller, row.path).await, named, "{} as {role:?}", row.path);
            assert!(named || call(caller, row.path).await.unwrap_err().code() == Code::PermissionDenied);
        }
        let service = admitted(&world.service(), row.path).await;
        assert_eq!(service, row.public || row.service, "{} as a service", row.path);
        assert_eq!(admitted(&world.nobody(), row.path).await, row.public, "{} as nobody", row.path);
        for secret in strangers {
            let stranger = world.with_secret(secret);
            if row.public {
                assert!(admitted(&stranger, row.path).await, "{} in spite of {secret}", row.path);
            } else {
                let code = call(&stranger, row.path).await.unwrap_err().code();
                assert_eq!(code, Code::Unauthenticated, "{} with {secret}", row.path);
            }
        }
    }
}

#[tokio::test]
async fn an_ended_session_opens_nothing_but_what_is_public() {
    let world = World::sqlite().await;
    let (caller, _) = signed_in(&world, Role::Owner).await;
    caller.sessions().sign_out(pb::SignOutRequest::default()).await.unwrap();
    for row in rows() {
        if row.public {
            assert!(admitted(&caller, row.path).await, "{}", row.path);
        } else {
            assert_refused(call(&caller, row.path).await, Code::Unauthenticated, "SESSION_ENDED");
        }
    }
}

#[tokio::test]
async fn what_the_table_does_not_name_is_refused() {
    let world = World::sqlite().await;
    let (session, _) = signed_in(&world, Role::Owner).await;
    for path in ["/tollgate.permissions.v1.UserService/DeleteEverything", "/nothing.Here/AtAll"] {
        for caller in [&world.owner, &session, &world.service()] {
            assert_refused(call(caller, path).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        }
        assert_refused(call(&world.nobody(), path).await, Code::Unauthenticated, "CREDENTIAL_MISSING");
    }
}

/// The table of every service, for people.
fn page() -> String {
    let mut page = String::from(
        "# Who may call what\n\n\
         One layer enforces this table before every method; what is not in it is refused to everyone. It is part of \
         the contract\n(`tollgate.common.v1.access` in the protos), and this page is printed from it by a test.\n\n\
         A key or session that is narrowed to scopes needs the one named here as well. Objects of others are guarded by \
         the\nmethods themselves: a `✓` says that the call is let in, not that it may touch everything.\n",
    );
    let mut service = "";
    for row in proto::ACCESS {
        let (owner, method) = row.path[1..].split_once('/').unwrap();
        if owner != service {
            service = owner;
            write!(page, "\n## {}\n\n", owner.trim_start_matches("tollgate.")).unwrap();
            page.push_str("| method | owner | admin | operator | auditor | developer | member | service | nobody | scope |\n");
            page.push_str("|---|---|---|---|---|---|---|---|---|---|\n");
        }
        write!(page, "| `{method}` |").unwrap();
        let roles = ROLES.map(|role| row.public || row.roles.contains(&i32::from(role)));
        for may in roles.into_iter().chain([row.public || row.service, row.public]) {
            page.push_str(if may { " ✓ |" } else { " |" });
        }
        let scope =
            Scope::try_from(row.scope).unwrap().as_str_name().trim_start_matches("SCOPE_").to_lowercase();
        writeln!(page, " {} |", if row.public || row.roles.is_empty() { "" } else { &scope }).unwrap();
    }
    page
}

#[test]
fn the_page_shows_the_table() {
    let (expected, found) = (page(), std::fs::read_to_string(PAGE).unwrap_or_default());
    if found != expected {
        let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
        let printed = std::env::temp_dir().join("access.md");
        std::fs::write(&printed, &expected).unwrap();
        panic!("docs/access.md differs: {differs:?}; look at {} and take it over", printed.display());
    }
}
