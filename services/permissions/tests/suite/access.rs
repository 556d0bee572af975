//! Every method against every kind of caller, held against the contract's access table (A5, A6).

use crate::world::{Caller, World};
use proto::common::v1::Role;
use tonic::{Code, Request, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

const ROLES: [Role; 6] =
    [Role::Owner, Role::Admin, Role::Operator, Role::Auditor, Role::Developer, Role::Member];

fn rows() -> impl Iterator<Item = &'static proto::Row> {
    proto::ACCESS.iter().filter(|row| row.path.starts_with("/tollgate.permissions."))
}

/// Calls a method with an empty message. Whether that is valid does not matter here: authentication comes first.
async fn call(caller: &Caller, path: &'static str) -> Code {
    let mut grpc = tonic::client::Grpc::new(caller.channel());
    grpc.ready().await.unwrap();
    let codec = ProstCodec::<(), ()>::default();
    match grpc.server_streaming(Request::new(()), PathAndQuery::from_static(path), codec).await {
        Ok(_) => Code::Ok,
        Err(status) => status.code(),
    }
}

#[tokio::test]
async fn every_method_lets_in_whom_the_table_names_and_nobody_else() {
    let world = World::sqlite().await;
    let mut callers = Vec::new();
    for role in ROLES {
        callers.push((role, world.user(role).await));
    }
    let service = world.service();
    assert!(rows().count() >= 24, "the table covers the package");
    for row in rows() {
        for (role, caller) in &callers {
            let refused = call(caller, row.path).await == Code::PermissionDenied;
            assert_eq!(refused, !row.roles.contains(&i32::from(*role)), "{} as {role:?}", row.path);
        }
        let refused = call(&service, row.path).await == Code::PermissionDenied;
        assert_eq!(refused, !row.service, "{} as a service", row.path);
        assert_eq!(call(&world.nobody(), row.path).await, Code::Unauthenticated, "{}", row.path);
        for secret in ["tgk_wrong", "tgs_wrong", "x", " "] {
            let stranger = world.with_secret(secret);
            assert_eq!(call(&stranger, row.path).await, Code::Unauthenticated, "{}", row.path);
        }
    }
}

#[tokio::test]
async fn what_the_table_does_not_name_is_refused() {
    let world = World::sqlite().await;
    for path in ["/tollgate.permissions.v1.UserService/DeleteEverything", "/nothing.Here/AtAll"] {
        assert_eq!(call(&world.owner, path).await, Code::PermissionDenied);
        assert_eq!(call(&world.service(), path).await, Code::PermissionDenied);
    }
}
