//! KeyService.

use super::{Api, instant, person};
use crate::{
    error::Error,
    field,
    keys::{self, Key, NewKey},
    list::Page,
    write::Write,
};
use policy::{ModelId, Time, UserId};
use proto::permissions::v1::{self as pb, key_service_server::KeyService};
use shared::time;
use tonic::{Request, Response, Status};

/// Most models that a key can be limited to.
const MODELS: usize = 1_000;

#[tonic::async_trait]
impl KeyService for Api {
    async fn create_key(
        &self,
        request: Request<pb::CreateKeyRequest>,
    ) -> Result<Response<pb::CreateKeyResponse>, Status> {
        let new = new_key(person(&request)?.user, request.get_ref().clone(), time::now())?;
        let create = async |write: &mut Write| {
            let (key, secret) = keys::create(write, new, self.key_lifetime).await?;
            let (key, secret) = (Some(key.into()), keys::reveal(&secret));
            Ok(pb::CreateKeyResponse { key, secret, ..Default::default() })
        };
        self.change(&request, create).await
    }

    async fn list_keys(
        &self,
        request: Request<pb::ListKeysRequest>,
    ) -> Result<Response<pb::ListKeysResponse>, Status> {
        let person = person(&request)?;
        let request = request.get_ref();
        let user: UserId = field::optional_id("user_id", &request.user_id)?.unwrap_or(person.user);
        let page = Page::new(format!("keys {user}"), request.page_size, &request.page_token)?;
        let listed = keys::list(&self.db, &person, user, &page).await?;
        let keys = listed.rows.into_iter().map(pb::Key::from).collect();
        Ok(Response::new(pb::ListKeysResponse { keys, next_page_token: listed.next }))
    }

    async fn revoke_key(
        &self,
        request: Request<pb::RevokeKeyRequest>,
    ) -> Result<Response<pb::RevokeKeyResponse>, Status> {
        let id = field::id("key_id", &request.get_ref().key_id)?;
        let revoke = async |write: &mut Write| {
            keys::revoke(write, id).await?;
            Ok(pb::RevokeKeyResponse::default())
        };
        self.change(&request, revoke).await
    }
}

fn new_key(caller: UserId, request: pb::CreateKeyRequest, now: Time) -> Result<NewKey, Error> {
    if request.model_ids.len() > MODELS {
        return Err(Error::invalid("model_ids", format!("must name at most {MODELS} models")));
    }
    let ids = request.model_ids.iter().map(|id| field::id("model_ids", id));
    let mut models = ids.collect::<Result<Vec<ModelId>, Error>>()?;
    models.sort_unstable();
    models.dedup();
    let end = instant("expire_time", request.expire_time.as_ref())?;
    Ok(NewKey {
        user: field::optional_id("user_id", &request.user_id)?.unwrap_or(caller),
        name: field::name("name", request.name)?,
        models: Some(models).filter(|models| !models.is_empty()),
        expires_at: field::end("expire_time", end, now)?,
    })
}

impl From<Key> for pb::Key {
    fn from(key: Key) -> Self {
        Self {
            key_id: key.id.to_string(),
            user_id: key.user.to_string(),
            name: key.name,
            hint: key.hint,
            model_ids: key.models.unwrap_or_default().iter().map(ModelId::to_string).collect(),
            expire_time: key.expires_at.map(time::to_proto),
            create_time: Some(time::to_proto(key.created_at)),
            revoke_time: key.revoked_at.map(time::to_proto),
        }
    }
}
