//! MeService.

use super::{Api, person};
use crate::me::{self, Me, MyGroup};
use proto::permissions::v1::{self as pb, me_service_server::MeService, my_credential::Credential};
use shared::{auth, time};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl MeService for Api {
    async fn get_me(
        &self,
        request: Request<pb::GetMeRequest>,
    ) -> Result<Response<pb::GetMeResponse>, Status> {
        let me = me::me(&self.db, &self.tail, person(&request)?, time::now()).await?;
        Ok(Response::new(me.into()))
    }
}

impl From<Me> for pb::GetMeResponse {
    fn from(me: Me) -> Self {
        let key = me.person.key.map(|key| Credential::KeyId(key.to_string()));
        let session = me.person.session.map(|session| Credential::SessionId(session.to_string()));
        Self {
            user: Some(me.user.into()),
            credential: Some(pb::MyCredential {
                credential: key.or(session),
                scopes: me.person.scopes.iter().map(auth::scope_number).collect(),
                expire_time: me.expires_at.map(time::to_proto),
            }),
            groups: me.groups.into_iter().map(pb::MyGroup::from).collect(),
            more_groups: me.more_groups,
            models: me.models,
            more_models: me.more_models,
            token: me.token,
        }
    }
}

impl From<MyGroup> for pb::MyGroup {
    fn from(group: MyGroup) -> Self {
        Self { group_id: group.id.to_string(), name: group.name, direct: group.direct }
    }
}
