//! SessionService.

use super::{Api, person, request_id};
use crate::{
    field,
    list::Page,
    passwords,
    sessions::{self, Client, Opened, Session},
    write::Write,
};
use policy::{SessionId, UserId};
use proto::permissions::v1::{self as pb, session_service_server::SessionService};
use secrecy::{ExposeSecret, SecretString};
use shared::{auth::Caller, peer::Peer, time};
use std::time::Duration;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl SessionService for Api {
    async fn sign_in(
        &self,
        request: Request<pb::SignInRequest>,
    ) -> Result<Response<pb::SignInResponse>, Status> {
        let (client, now) = (client(&request), time::now());
        let pb::SignInRequest { email, password } = request.into_inner();
        let opened = self.sessions.sign_in(&email, password.into(), client, now).await?;
        Ok(Response::new(pb::SignInResponse { tokens: Some(opened.into()) }))
    }

    async fn refresh_session(
        &self,
        request: Request<pb::RefreshSessionRequest>,
    ) -> Result<Response<pb::RefreshSessionResponse>, Status> {
        let token = SecretString::from(request.into_inner().refresh_token);
        let opened = self.sessions.refresh(&token, time::now()).await?;
        Ok(Response::new(pb::RefreshSessionResponse { tokens: Some(opened.into()) }))
    }

    async fn sign_out(
        &self,
        request: Request<pb::SignOutRequest>,
    ) -> Result<Response<pb::SignOutResponse>, Status> {
        let (caller, id) = (request.extensions().get::<Caller>().cloned(), request_id(&request).to_owned());
        let token = Some(request.into_inner().refresh_token).filter(|token| !token.is_empty());
        sessions::sign_out(&self.writer, caller, token.map(Into::into), id, time::now()).await?;
        Ok(Response::new(pb::SignOutResponse {}))
    }

    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> Result<Response<pb::ListSessionsResponse>, Status> {
        let person = person(&request)?;
        let request = request.get_ref();
        let user: UserId = field::optional_id("user_id", &request.user_id)?.unwrap_or(person.user);
        let page = Page::new(format!("sessions {user}"), request.page_size, &request.page_token)?;
        let listed = self.sessions.list(&person, user, &page, time::now()).await?;
        let show = |(session, client): (Session, Client)| pb::Session {
            current: person.session == Some(session.id),
            ..shown(session, client)
        };
        let sessions = listed.rows.into_iter().map(show).collect();
        Ok(Response::new(pb::ListSessionsResponse { sessions, next_page_token: listed.next }))
    }

    async fn end_session(
        &self,
        request: Request<pb::EndSessionRequest>,
    ) -> Result<Response<pb::EndSessionResponse>, Status> {
        let id: SessionId = field::id("session_id", &request.get_ref().session_id)?;
        let end = async |write: &mut Write| {
            sessions::end(write, id).await?;
            Ok(pb::EndSessionResponse::default())
        };
        self.change(&request, end).await
    }

    async fn end_sessions(
        &self,
        request: Request<pb::EndSessionsRequest>,
    ) -> Result<Response<pb::EndSessionsResponse>, Status> {
        let asked = request.get_ref();
        let user = field::optional_id("user_id", &asked.user_id)?.unwrap_or(person(&request)?.user);
        let end = async |write: &mut Write| {
            let ended = sessions::end_of(write, user, asked.keep_current).await?;
            let ended = i32::try_from(ended).unwrap_or(i32::MAX);
            Ok(pb::EndSessionsResponse { ended, ..Default::default() })
        };
        self.change(&request, end).await
    }

    async fn change_password(
        &self,
        request: Request<pb::ChangePasswordRequest>,
    ) -> Result<Response<pb::ChangePasswordResponse>, Status> {
        let (user, peer) = (person(&request)?.user, client(&request).peer);
        let asked = request.get_ref();
        let passwords = (asked.current_password.clone().into(), asked.new_password.clone().into());
        let new = self.sessions.replacement(user, passwords, peer, time::now()).await?;
        let change = async |write: &mut Write| {
            passwords::change(write, new).await?;
            Ok(pb::ChangePasswordResponse::default())
        };
        self.change(&request, change).await
    }

    async fn set_password(
        &self,
        request: Request<pb::SetPasswordRequest>,
    ) -> Result<Response<pb::SetPasswordResponse>, Status> {
        let asked = request.get_ref();
        let user: UserId = field::id("user_id", &asked.user_id)?;
        let password = SecretString::from(asked.new_password.clone());
        passwords::check("new_password", &password, "")?;
        let hash = self.sessions.passwords.hash(password.clone()).await?;
        let set = async |write: &mut Write| {
            passwords::set(write, user, &password, &hash).await?;
            Ok(pb::SetPasswordResponse::default())
        };
        self.change(&request, set).await
    }
}

/// The program at the other end.
pub(super) fn client<T>(request: &Request<T>) -> Client {
    let agent = request.metadata().get("user-agent").and_then(|agent| agent.to_str().ok());
    let peer = request.extensions().get::<Peer>().map(|Peer(peer)| *peer);
    Client::new(agent.unwrap_or_default(), peer)
}

fn shown(session: Session, client: Client) -> pb::Session {
    pb::Session {
        session_id: session.id.to_string(),
        user_id: session.user.to_string(),
        create_time: Some(time::to_proto(session.created_at)),
        refresh_time: Some(time::to_proto(session.refreshed_at)),
        expire_time: Some(time::to_proto(session.expires_at)),
        user_agent: client.agent,
        peer_address: client.peer.map(|peer| peer.to_string()).unwrap_or_default(),
        method: session.method,
        current: false,
    }
}

impl From<Opened> for pb::SessionTokens {
    fn from(opened: Opened) -> Self {
        let Opened { session, access, access_expires_at, refresh } = opened;
        let left: Duration = access_expires_at.since(session.refreshed_at);
        Self {
            access_token: access.expose_secret().to_owned(),
            access_expire_time: Some(time::to_proto(access_expires_at)),
            refresh_token: refresh.expose_secret().to_owned(),
            refresh_expire_time: Some(time::to_proto(session.expires_at)),
            token_type: "Bearer".to_owned(),
            expires_in: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            session_id: session.id.to_string(),
            user_id: session.user.to_string(),
        }
    }
}
