//! KeyService. Requests are read in `keys/request`, keys are written out in `keys/answer`.

mod answer;
mod request;

use super::{Api, instant, person};
use crate::{
    error::Error,
    field,
    keys::{self, Filter, Key},
    list::Page,
    store,
    write::Write,
};
use policy::{Role, UserId};
use proto::permissions::v1::{self as pb, key_service_server::KeyService};
use shared::{auth::Person, auth::RequestExt, time};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl KeyService for Api {
    async fn create_key(
        &self,
        request: Request<pb::CreateKeyRequest>,
    ) -> Result<Response<pb::CreateKeyResponse>, Status> {
        let new = request::new_key(person(&request)?.user, request.get_ref().clone(), time::now())?;
        let create = async |write: &mut Write| {
            let (key, secret) = keys::create(write, new, self.keys.lifetime).await?;
            let (key, secret) = (Some(answer::unused(key, write.now())), keys::reveal(write, &secret));
            Ok(pb::CreateKeyResponse { key, secret, ..Default::default() })
        };
        self.change(&request, create).await
    }

    async fn get_key(
        &self,
        request: Request<pb::GetKeyRequest>,
    ) -> Result<Response<pb::GetKeyResponse>, Status> {
        let id = field::id("key_id", &request.get_ref().key_id)?;
        let key = keys::get(&self.db, &person(&request)?, id).await?;
        let key = self.shown(vec![key]).await?.pop();
        Ok(Response::new(pb::GetKeyResponse { key }))
    }

    async fn list_keys(
        &self,
        request: Request<pb::ListKeysRequest>,
    ) -> Result<Response<pb::ListKeysResponse>, Status> {
        let person = person(&request)?;
        let request = request.get_ref();
        let filter = Filter {
            user: whose(&person, &request.user_id)?,
            state: request::state(request.state)?,
            stop_before: instant("stop_before", request.stop_before.as_ref())?,
            rotation_due: request.rotation_due,
        };
        let page = Page::new(format!("keys {filter:?}"), request.page_size, &request.page_token)?;
        let listed = keys::list(&self.db, &person, &filter, &page, time::now()).await?;
        let keys = self.shown(listed.rows).await?;
        Ok(Response::new(pb::ListKeysResponse { keys, next_page_token: listed.next }))
    }

    async fn update_key(
        &self,
        request: Request<pb::UpdateKeyRequest>,
    ) -> Result<Response<pb::UpdateKeyResponse>, Status> {
        let patch = request::patch(request.get_ref().clone(), time::now())?;
        let update = async |write: &mut Write| {
            let key = keys::update(write, patch).await?;
            Ok(pb::UpdateKeyResponse { key: Some(answer::unused(key, write.now())), ..Default::default() })
        };
        self.change(&request, update).await
    }

    async fn rotate_key(
        &self,
        request: Request<pb::RotateKeyRequest>,
    ) -> Result<Response<pb::RotateKeyResponse>, Status> {
        let turn = request::turn(request.get_ref(), self.keys.grace, time::now())?;
        let rotate = async |write: &mut Write| {
            let (key, secret) = keys::rotate(write, turn).await?;
            let (key, secret) = (Some(answer::unused(key, write.now())), keys::reveal(write, &secret));
            Ok(pb::RotateKeyResponse { key, secret, ..Default::default() })
        };
        self.change(&request, rotate).await
    }

    async fn revoke_key(
        &self,
        request: Request<pb::RevokeKeyRequest>,
    ) -> Result<Response<pb::RevokeKeyResponse>, Status> {
        let id = field::id("key_id", &request.get_ref().key_id)?;
        let etag = request.get_ref().etag.clone();
        let revoke = async |write: &mut Write| {
            keys::revoke(write, id, &etag).await?;
            Ok(pb::RevokeKeyResponse::default())
        };
        self.change(&request, revoke).await
    }

    async fn revoke_keys(
        &self,
        request: Request<pb::RevokeKeysRequest>,
    ) -> Result<Response<pb::RevokeKeysResponse>, Status> {
        let person = person(&request)?;
        let asked = request.get_ref();
        let user = field::id("user_id", &asked.user_id)?;
        let except = person.key.filter(|_| asked.except_this);
        let revoke = async |write: &mut Write| {
            let revoked = keys::revoke_all(write, user, except).await?;
            let revoked = i32::try_from(revoked).unwrap_or(i32::MAX);
            Ok(pb::RevokeKeysResponse { revoked, ..Default::default() })
        };
        self.change(&request, revoke).await
    }

    async fn verify_key(
        &self,
        request: Request<pb::VerifyKeyRequest>,
    ) -> Result<Response<pb::VerifyKeyResponse>, Status> {
        let caller = request.caller()?;
        let asked = request::asked(&caller, request.into_inner())?;
        let verdict = keys::verify(&self.tail, &caller, &asked, time::now())?;
        Ok(Response::new(verdict.into()))
    }

    async fn report_key_use(
        &self,
        request: Request<pb::ReportKeyUseRequest>,
    ) -> Result<Response<pb::ReportKeyUseResponse>, Status> {
        let mut uses = request::uses(request.get_ref())?;
        {
            let replica = self.tail.replica();
            uses.retain(|one| replica.policy().key(one.key).is_some());
        }
        store::keys::add_uses(&self.db, &uses).await.map_err(Error::from)?;
        Ok(Response::new(pb::ReportKeyUseResponse {}))
    }
}

impl Api {
    /// Keys with how often they were used.
    async fn shown(&self, keys: Vec<Key>) -> Result<Vec<pb::Key>, Error> {
        let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
        let uses = keys::uses(&self.db, self.incidents.watch(), &ids).await?;
        let now = time::now();
        let shown = |key: Key| {
            let used = uses.get(&key.id).copied();
            answer::used(answer::unused(key, now), used)
        };
        Ok(keys.into_iter().map(shown).collect())
    }
}

/// Whose keys are listed: everybody's for `-`.
fn whose(person: &Person, user: &str) -> Result<Option<UserId>, Error> {
    let everybody = user == "-" && matches!(person.role, Role::Owner | Role::Admin | Role::Auditor);
    if everybody {
        return Ok(None);
    }
    if user == "-" {
        return Err(crate::error::Forbidden::NotYourself.into());
    }
    Ok(Some(field::optional_id("user_id", user)?.unwrap_or(person.user)))
}
