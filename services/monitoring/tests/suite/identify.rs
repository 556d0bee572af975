//! Asking permissions who holds a key, over a channel as the service does.

use monitoring::AskPermissions;
use policy::{KeyHash, Role};
use proto::{
    common::v1::Role as WireRole,
    permissions::v1::{
        CheckRequest, CheckResponse, IdentifyKeyRequest, IdentifyKeyResponse, ListAccessibleModelsRequest,
        ListAccessibleModelsResponse,
        authorization_service_server::{AuthorizationService, AuthorizationServiceServer},
    },
};
use shared::{
    auth::{Refusal, Verify, hash},
    channel,
};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

const USER: Uuid = Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);
const KEY: Uuid = Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8058);

/// Permissions as this service meets it. Each key's secret says how it is answered.
struct Permissions;

#[tonic::async_trait]
impl AuthorizationService for Permissions {
    async fn identify_key(
        &self,
        request: Request<IdentifyKeyRequest>,
    ) -> Result<Response<IdentifyKeyResponse>, Status> {
        let asked = request.into_inner().key_hash;
        let is = |secret: &str| asked.as_ref() == hash(secret).as_bytes();
        let known = IdentifyKeyResponse {
            user_id: USER.to_string(),
            key_id: KEY.to_string(),
            role: WireRole::Auditor.into(),
        };
        let refusals = [Refusal::Revoked, Refusal::Expired, Refusal::OwnerDisabled, Refusal::Unavailable];
        if let Some(refusal) = refusals.into_iter().find(|refusal| is(&format!("{refusal:?}"))) {
            return Err(refusal.into());
        }
        match () {
            () if is("good") => Ok(Response::new(known)),
            () if is("no role") => Ok(Response::new(IdentifyKeyResponse { role: 0, ..known })),
            () if is("no user") => Ok(Response::new(IdentifyKeyResponse { user_id: String::new(), ..known })),
            () if is("internal") => Err(Status::new(Code::Internal, "broken")),
            () if is("refused service") => Err(Status::new(Code::PermissionDenied, "not for you")),
            () => Err(Refusal::Unknown.into()),
        }
    }

    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn list_accessible_models(
        &self,
        _: Request<ListAccessibleModelsRequest>,
    ) -> Result<Response<ListAccessibleModelsResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }
}

fn ask() -> AskPermissions {
    AskPermissions::new(channel::in_process(AuthorizationServiceServer::new(Permissions)))
}

#[tokio::test]
async fn the_holder_of_a_key_is_named_with_key_and_role() {
    let person = ask().verify(hash("good")).await.unwrap();
    assert_eq!(person.user.uuid(), USER);
    assert_eq!(person.key.unwrap().uuid(), KEY);
    assert_eq!(person.role, Role::Auditor);
}

#[tokio::test]
async fn each_refusal_keeps_its_reason_and_trouble_is_not_the_callers_fault() {
    let expected = [
        ("anything else", Refusal::Unknown),
        ("Revoked", Refusal::Revoked),
        ("Expired", Refusal::Expired),
        ("OwnerDisabled", Refusal::OwnerDisabled),
        ("Unavailable", Refusal::Unavailable),
        ("no role", Refusal::Unavailable),
        ("no user", Refusal::Unavailable),
        ("internal", Refusal::Unavailable),
        ("refused service", Refusal::Unavailable),
    ];
    for (secret, refusal) in expected {
        assert_eq!(ask().verify(hash(secret)).await, Err(refusal), "{secret}");
    }
}

#[tokio::test]
async fn nobody_can_say_while_permissions_cannot_be_reached() {
    let nowhere = AskPermissions::new(channel::remote("http://127.0.0.1:1").unwrap());
    assert_eq!(nowhere.verify(KeyHash::new([7; 32])).await, Err(Refusal::Unavailable));
}
