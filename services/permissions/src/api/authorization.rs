//! AuthorizationService: answered from memory.

use super::{Api, asked, left};
use crate::{
    check::{self, Answer, Question, Subject},
    error::Error,
    field,
    list::Page,
    token::Token,
};
use policy::{Action, GrantId, KeyHash, UserId};
use proto::permissions::v1::{self as pb, authorization_service_server::AuthorizationService};
use shared::{
    auth::{self, Credential},
    time, wire,
};
use std::net::IpAddr;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl AuthorizationService for Api {
    async fn check(&self, request: Request<pb::CheckRequest>) -> Result<Response<pb::CheckResponse>, Status> {
        let (user, left) = (asked(&request, &request.get_ref().user_id)?, left(&request));
        let question = question(user, request.into_inner())?;
        let answer = check::check(&self.tail, &question, left).await?;
        Ok(Response::new(answer.into()))
    }

    async fn list_accessible_models(
        &self,
        request: Request<pb::ListAccessibleModelsRequest>,
    ) -> Result<Response<pb::ListAccessibleModelsResponse>, Status> {
        let user = asked(&request, &request.get_ref().user_id)?;
        let request = request.get_ref();
        let action = if request.action == 0 { Action::Use } else { action(request.action)? };
        let page = Page::long(format!("accessible {user} {action}"), request.page_size, &request.page_token)?;
        let (listed, token) = check::accessible(&self.tail, user, action, &page, time::now())?;
        let model =
            |(id, name): (policy::ModelId, String)| pb::AccessibleModel { model_id: id.to_string(), name };
        let models = listed.rows.into_iter().map(model).collect();
        Ok(Response::new(pb::ListAccessibleModelsResponse { models, next_page_token: listed.next, token }))
    }

    async fn identify(
        &self,
        request: Request<pb::IdentifyRequest>,
    ) -> Result<Response<pb::IdentifyResponse>, Status> {
        let request = request.get_ref();
        let person = self.verifier.identify(credential(request)?, peer(request)?, time::now())?;
        Ok(Response::new(pb::IdentifyResponse {
            user_id: person.user.to_string(),
            key_id: person.key.map(|key| key.to_string()).unwrap_or_default(),
            role: auth::role_number(person.role),
            session_id: person.session.map(|session| session.to_string()).unwrap_or_default(),
            scopes: person.scopes.iter().map(auth::scope_number).collect(),
        }))
    }
}

fn question(user: UserId, request: pb::CheckRequest) -> Result<Question, Error> {
    use pb::check_request::Model;
    Ok(Question {
        user,
        model: match request.model {
            Some(Model::ModelId(id)) => Subject::Id(field::id("model_id", &id)?),
            Some(Model::ModelName(name)) => Subject::Name(field::model_name("model_name", name)?),
            None => return Err(Error::invalid("model", "must be named by model_id or model_name")),
        },
        action: action(request.action)?,
        at_least: Token::decode("at_least_as_fresh", &request.at_least_as_fresh)?,
    })
}

fn action(number: i32) -> Result<Action, Error> {
    wire::action_from_proto(number).ok_or_else(|| Error::invalid("action", "must be USE or MANAGE"))
}

fn credential(request: &pb::IdentifyRequest) -> Result<Credential<'_>, Error> {
    use pb::identify_request::Credential as Wire;
    match &request.credential {
        Some(Wire::KeyHash(digest)) => {
            let digest: Result<[u8; 32], _> = digest.as_ref().try_into();
            let digest = digest.map_err(|_| Error::invalid("key_hash", "must be a SHA-256: 32 bytes"))?;
            Ok(Credential::Key(KeyHash::new(digest)))
        }
        Some(Wire::AccessToken(token)) => Ok(Credential::Token(token)),
        None => Err(Error::invalid("credential", "must be a key_hash or an access_token")),
    }
}

fn peer(request: &pb::IdentifyRequest) -> Result<Option<IpAddr>, Error> {
    let text = request.peer_address.as_str();
    let peer = Some(text).filter(|text| !text.is_empty()).map(str::parse).transpose();
    peer.map_err(|_| Error::invalid("peer_address", "must be an IP address"))
}

impl From<Answer> for pb::CheckResponse {
    fn from(answer: Answer) -> Self {
        let Answer { decision, token, stale } = answer;
        let verdict = if decision.allowed { pb::Verdict::Allowed } else { pb::Verdict::Denied };
        Self {
            verdict: verdict.into(),
            reason: decision.reason.as_str().to_owned(),
            grant_id: decision.grant.as_ref().map(GrantId::to_string).unwrap_or_default(),
            valid_until: decision.valid_until.map(time::to_proto),
            token,
            stale,
        }
    }
}
