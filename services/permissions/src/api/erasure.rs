//! PrivacyService.

use super::Api;
use crate::{encryption, erasure, field, sweep, write::Write};
use proto::permissions::v1::{
    self as pb, get_encryption_status_response::Remaining, get_retention_response::Retention,
    privacy_service_server::PrivacyService,
};
use shared::time;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl PrivacyService for Api {
    async fn erase_user(
        &self,
        request: Request<pb::EraseUserRequest>,
    ) -> Result<Response<pb::EraseUserResponse>, Status> {
        let id = field::id("user_id", &request.get_ref().user_id)?;
        let confirm = field::id("confirm", &request.get_ref().confirm)?;
        let erase = async |write: &mut Write| {
            let erased = erasure::erase(write, id, confirm).await?;
            let revoked_keys = i32::try_from(erased.revoked_keys).unwrap_or(i32::MAX);
            Ok(pb::EraseUserResponse { erased: erased.done, revoked_keys, ..Default::default() })
        };
        self.change(&request, erase).await
    }

    async fn get_retention(
        &self,
        _: Request<pb::GetRetentionRequest>,
    ) -> Result<Response<pb::GetRetentionResponse>, Status> {
        let kept = sweep::kept(&self.db, &self.retention, time::now()).await?;
        let kinds = kept.into_iter().map(|kept| Retention {
            kind: kept.kind.to_owned(),
            kept: Some(time::duration_to_proto(kept.kept)),
            due: kept.due,
        });
        Ok(Response::new(pb::GetRetentionResponse { kinds: kinds.collect() }))
    }

    async fn get_encryption_status(
        &self,
        _: Request<pb::GetEncryptionStatusRequest>,
    ) -> Result<Response<pb::GetEncryptionStatusResponse>, Status> {
        let status = encryption::status(&self.db, self.writer.sealer()).await?;
        let complete = status.is_complete();
        let remaining = |(table, rows): (&str, i64)| Remaining { table: table.to_owned(), rows };
        Ok(Response::new(pb::GetEncryptionStatusResponse {
            current_key: status.current,
            remaining: status.left.into_iter().map(remaining).collect(),
            complete,
        }))
    }
}
