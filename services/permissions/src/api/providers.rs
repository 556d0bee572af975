//! ProviderService.

use super::{Api, asked, request_id, sessions::client};
use crate::{
    error::Error,
    external::{self, Entrance, Identity, Returned},
    field,
    freshness::serving,
    provider::{Kind, Provider},
    questions::may_ask,
    write::Write,
};
use policy::{GroupId, Time};
use proto::permissions::v1::{self as pb, provider_service_server::ProviderService};
use secrecy::ExposeSecret;
use shared::{auth::RequestExt, time};
use std::net::IpAddr;
use tonic::{Request, Response, Status};

/// Longest part of an address that a provider sends a browser back to.
const PART: usize = 8 * 1024;

#[tonic::async_trait]
impl ProviderService for Api {
    async fn list_identity_providers(
        &self,
        _: Request<pb::ListIdentityProvidersRequest>,
    ) -> Result<Response<pb::ListIdentityProvidersResponse>, Status> {
        let providers = self.providers.iter().map(pb::IdentityProvider::from).collect();
        Ok(Response::new(pb::ListIdentityProvidersResponse { providers }))
    }

    async fn start_sign_in(
        &self,
        request: Request<pb::StartSignInRequest>,
    ) -> Result<Response<pb::StartSignInResponse>, Status> {
        let peer = client(&request).peer;
        let pb::StartSignInRequest { provider, redirect_uri } = request.into_inner();
        let started = self.entrance(peer, time::now()).start(&provider, redirect_uri).await?;
        Ok(Response::new(pb::StartSignInResponse {
            authorization_url: started.url,
            sign_in_token: started.token.expose_secret().to_owned(),
            expire_time: Some(time::to_proto(started.expires_at)),
        }))
    }

    async fn complete_sign_in(
        &self,
        request: Request<pb::CompleteSignInRequest>,
    ) -> Result<Response<pb::CompleteSignInResponse>, Status> {
        let (client, id, now) = (client(&request), request_id(&request).to_owned(), time::now());
        let returned = request.into_inner().try_into()?;
        let entered = self.entrance(client.peer, now).complete(returned, id).await?;
        let opened = self.sessions.open(entered.user, &entered.provider, client, now).await?;
        Ok(Response::new(pb::CompleteSignInResponse {
            user_id: entered.user.to_string(),
            created: entered.created,
            token: entered.revision,
            tokens: Some(opened.into()),
        }))
    }

    async fn list_identities(
        &self,
        request: Request<pb::ListIdentitiesRequest>,
    ) -> Result<Response<pb::ListIdentitiesResponse>, Status> {
        let (caller, now) = (request.caller()?, time::now());
        let user = asked(&caller, &request.get_ref().user_id)?;
        may_ask(serving(&self.tail, now)?.policy(), &caller, Some(user), None, now)?;
        let listed = external::list(&self.db, user, now).await?;
        let identities = listed.into_iter().map(|(found, groups)| identity(found, &groups)).collect();
        Ok(Response::new(pb::ListIdentitiesResponse { identities }))
    }

    async fn unlink_identity(
        &self,
        request: Request<pb::UnlinkIdentityRequest>,
    ) -> Result<Response<pb::UnlinkIdentityResponse>, Status> {
        let id = field::id("identity_id", &request.get_ref().identity_id)?;
        let unlink = async |write: &mut Write| {
            external::unlink(write, id).await?;
            Ok(pb::UnlinkIdentityResponse::default())
        };
        self.change(&request, unlink).await
    }
}

impl Api {
    fn entrance(&self, peer: Option<IpAddr>, now: Time) -> Entrance<'_> {
        let (writer, providers, attempts) = (&self.writer, &self.providers, &self.sessions.attempts);
        Entrance { writer, providers, attempts, peer, now }
    }
}

impl TryFrom<pb::CompleteSignInRequest> for Returned {
    type Error = Error;

    fn try_from(request: pb::CompleteSignInRequest) -> Result<Self, Error> {
        let part = |field, text: String| {
            if text.len() > PART {
                return Err(Error::invalid(field, "must have at most 8192 characters"));
            }
            Ok(text)
        };
        let needed = |field, text: String| {
            if text.is_empty() { Err(Error::invalid(field, "is needed")) } else { part(field, text) }
        };
        let error = part("error", request.error)?;
        let code = if error.is_empty() { needed("code", request.code)? } else { String::new() };
        Ok(Self {
            token: needed("sign_in_token", request.sign_in_token)?.into(),
            state: needed("state", request.state)?.into(),
            code: code.into(),
            issuer: part("issuer", request.issuer)?,
            error,
        })
    }
}

impl From<&Provider> for pb::IdentityProvider {
    fn from(provider: &Provider) -> Self {
        let kind = match provider.kind() {
            Kind::Oidc => pb::ProviderKind::Oidc,
            Kind::Github => pb::ProviderKind::Github,
        };
        Self {
            provider: provider.id().to_owned(),
            display_name: provider.display_name().to_owned(),
            kind: kind.into(),
        }
    }
}

fn identity(identity: Identity, groups: &[GroupId]) -> pb::Identity {
    pb::Identity {
        identity_id: identity.id.to_string(),
        user_id: identity.user.to_string(),
        provider: identity.provider,
        subject: identity.subject,
        group_ids: groups.iter().map(GroupId::to_string).collect(),
        create_time: Some(time::to_proto(identity.created_at)),
        last_use_time: Some(time::to_proto(identity.last_used_at)),
    }
}
