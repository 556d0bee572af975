//! SigningService.

use super::Api;
use crate::{error::Error, write::Write};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use policy::SigningKey;
use proto::permissions::v1::{self as pb, signing_service_server::SigningService};
use shared::time;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl SigningService for Api {
    async fn get_jwks(
        &self,
        _: Request<pb::GetJwksRequest>,
    ) -> Result<Response<pb::GetJwksResponse>, Status> {
        let replica = self.tail.replica();
        let mut keys: Vec<_> = replica.policy().signing_keys(time::now()).map(jwk).collect();
        keys.sort_unstable_by(|one, other| one.kid.cmp(&other.kid));
        Ok(Response::new(pb::GetJwksResponse { keys }))
    }

    async fn rotate_signing_key(
        &self,
        request: Request<pb::RotateSigningKeyRequest>,
    ) -> Result<Response<pb::RotateSigningKeyResponse>, Status> {
        let compromised = request.get_ref().compromised;
        let rotate = async |write: &mut Write| -> Result<_, Error> {
            let key = self.signing.rotate(write, compromised).await?;
            let active_time = Some(time::to_proto(key.active_at));
            Ok(pb::RotateSigningKeyResponse { kid: key.kid, active_time, ..Default::default() })
        };
        self.change(&request, rotate).await
    }
}

fn jwk(key: &SigningKey) -> pb::Jwk {
    pb::Jwk {
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        x: URL_SAFE_NO_PAD.encode(key.public),
        kid: key.id.clone(),
        alg: "EdDSA".to_owned(),
        r#use: "sig".to_owned(),
    }
}
