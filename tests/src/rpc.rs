//! gRPC with a credential.

use crate::{tls::Tls, within};
use std::net::SocketAddr;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{self, Channel, Endpoint},
};

/// A connection that carries a credential.
pub type Authorized = InterceptedService<Channel, Bearer>;

/// Adds a credential to every call.
#[derive(Debug, Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Connects without a credential.
pub async fn plain(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    within("a gRPC connection", endpoint.connect()).await.unwrap()
}

/// Connects over TLS with a credential.
///
/// # Errors
/// When TLS has something against it.
pub async fn secured(address: SocketAddr, tls: &Tls, key: &str) -> Result<Authorized, transport::Error> {
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls.for_grpc())?;
    let bearer = Bearer(format!("Bearer {key}").parse().unwrap());
    Ok(InterceptedService::new(within("a gRPC connection", endpoint.connect()).await?, bearer))
}

/// Connects with a credential.
pub async fn channel(address: SocketAddr, key: &str) -> Authorized {
    let bearer = Bearer(format!("Bearer {key}").parse().unwrap());
    InterceptedService::new(plain(address).await, bearer)
}
