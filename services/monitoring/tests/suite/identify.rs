//! Asking permissions who holds a key, over a channel as the service does.

use monitoring::AskPermissions;
use policy::{KeyHash, Role, Scope, Scopes};
use proto::{
    common::v1::{Role as WireRole, Scope as WireScope},
    permissions::v1::{
        self as pb, IdentifyRequest, IdentifyResponse,
        authorization_service_server::{AuthorizationService, AuthorizationServiceServer},
        identify_request::Credential as Wire,
    },
};
use shared::{
    auth::{Credential, Person, Refusal, Verify, hash},
    channel,
    tls::{Dialer, Trust},
};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

const USER: Uuid = Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);
const KEY: Uuid = Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8058);

const SESSION: Uuid = Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8059);

/// Permissions as this service meets it. Each key's secret says how it is answered.
struct Permissions;

#[tonic::async_trait]
impl AuthorizationService for Permissions {
    async fn identify(
        &self,
        request: Request<IdentifyRequest>,
    ) -> Result<Response<IdentifyResponse>, Status> {
        let request = request.into_inner();
        let asked = request.credential.unwrap();
        let is =
            |secret: &str| matches!(&asked, Wire::KeyHash(digest) if digest == &hash(secret).as_bytes()[..]);
        let known = IdentifyResponse {
            user_id: USER.to_string(),
            key_id: KEY.to_string(),
            role: WireRole::Auditor.into(),
            scopes: vec![WireScope::Read.into()],
            ..Default::default()
        };
        if asked == Wire::AccessToken("a.b.c".to_owned()) {
            let session_id = SESSION.to_string();
            return Ok(Response::new(IdentifyResponse { key_id: String::new(), session_id, ..known }));
        }
        if let Some(refusal) = Refusal::ALL.iter().copied().find(|refusal| is(refusal.reason())) {
            return Err(refusal.into());
        }
        match () {
            () if is("good") => Ok(Response::new(known)),
            () if is("from home") && request.peer_address == "192.0.2.7" => Ok(Response::new(known)),
            () if is("no role") => Ok(Response::new(IdentifyResponse { role: 0, ..known })),
            () if is("no user") => Ok(Response::new(IdentifyResponse { user_id: String::new(), ..known })),
            () if is("no credential") => {
                Ok(Response::new(IdentifyResponse { key_id: String::new(), ..known }))
            }
            () if is("new scope") => Ok(Response::new(IdentifyResponse { scopes: vec![99], ..known })),
            () if is("internal") => Err(Status::new(Code::Internal, "broken")),
            () if is("refused service") => Err(Status::new(Code::PermissionDenied, "not for you")),
            () => Err(Refusal::Unknown.into()),
        }
    }

    type CheckStreamStream = tonic::codegen::tokio_stream::Empty<Result<pb::CheckStreamResponse, Status>>;

    async fn check_stream(
        &self,
        _: Request<tonic::Streaming<pb::CheckStreamRequest>>,
    ) -> Result<Response<Self::CheckStreamStream>, Status> {
        not_asked()
    }

    async fn check(&self, _: Request<pb::CheckRequest>) -> Result<Response<pb::CheckResponse>, Status> {
        not_asked()
    }

    async fn batch_check(
        &self,
        _: Request<pb::BatchCheckRequest>,
    ) -> Result<Response<pb::BatchCheckResponse>, Status> {
        not_asked()
    }

    async fn list_accessible_models(
        &self,
        _: Request<pb::ListAccessibleModelsRequest>,
    ) -> Result<Response<pb::ListAccessibleModelsResponse>, Status> {
        not_asked()
    }

    async fn list_subjects(
        &self,
        _: Request<pb::ListSubjectsRequest>,
    ) -> Result<Response<pb::ListSubjectsResponse>, Status> {
        not_asked()
    }

    async fn get_effective_permissions(
        &self,
        _: Request<pb::GetEffectivePermissionsRequest>,
    ) -> Result<Response<pb::GetEffectivePermissionsResponse>, Status> {
        not_asked()
    }

    async fn expand(&self, _: Request<pb::ExpandRequest>) -> Result<Response<pb::ExpandResponse>, Status> {
        not_asked()
    }

    async fn explain(&self, _: Request<pb::ExplainRequest>) -> Result<Response<pb::ExplainResponse>, Status> {
        not_asked()
    }

    async fn simulate(
        &self,
        _: Request<pb::SimulateRequest>,
    ) -> Result<Response<pb::SimulateResponse>, Status> {
        not_asked()
    }
}

fn not_asked<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not asked here"))
}

fn ask() -> AskPermissions {
    AskPermissions::new(channel::in_process(AuthorizationServiceServer::new(Permissions)))
}

async fn verify(secret: &str) -> Result<Person, Refusal> {
    ask().verify(Credential::of(secret), None).await
}

#[tokio::test]
async fn the_holder_of_a_key_is_named_with_key_role_and_scopes() {
    let person = verify("good").await.unwrap();
    assert_eq!((person.user.uuid(), person.key.unwrap().uuid(), person.session), (USER, KEY, None));
    assert_eq!(person.role, Role::Auditor);
    assert_eq!(person.scopes, [Scope::Read].into_iter().collect::<Scopes>());
}

#[tokio::test]
async fn whoever_is_in_a_session_is_named_with_it() {
    let person = ask().verify(Credential::Token("a.b.c"), None).await.unwrap();
    assert_eq!((person.key, person.session.unwrap().uuid()), (None, SESSION));
}

#[tokio::test]
async fn permissions_is_told_from_where_a_credential_was_shown() {
    let from = |peer: &str| Some(peer.parse().unwrap());
    assert!(ask().verify(Credential::of("from home"), from("192.0.2.7")).await.is_ok());
    assert_eq!(ask().verify(Credential::of("from home"), from("192.0.2.8")).await, Err(Refusal::Unknown));
}

#[tokio::test]
async fn each_refusal_keeps_its_reason_and_trouble_is_not_the_callers_fault() {
    let ours = [Refusal::Missing, Refusal::ServiceToken];
    for refusal in Refusal::ALL {
        let expected = if ours.contains(refusal) { Refusal::Unavailable } else { *refusal };
        assert_eq!(verify(refusal.reason()).await, Err(expected));
    }
    assert_eq!(verify("anything else").await, Err(Refusal::Unknown));
    for secret in ["no role", "no user", "no credential", "new scope", "internal", "refused service"] {
        assert_eq!(verify(secret).await, Err(Refusal::Unavailable), "{secret}");
    }
}

#[tokio::test]
async fn nobody_can_say_while_permissions_cannot_be_reached() {
    let dialer = Dialer::open(&Trust::default(), "tls").unwrap();
    let nowhere = AskPermissions::new(channel::remote("http://127.0.0.1:1", &dialer).unwrap());
    let key = Credential::Key(KeyHash::new([7; 32]));
    assert_eq!(nowhere.verify(key, None).await, Err(Refusal::Unavailable));
}
