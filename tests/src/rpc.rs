//! gRPC with a credential.

use crate::within;
use std::net::SocketAddr;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
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

/// Connects with a credential.
pub async fn channel(address: SocketAddr, key: &str) -> Authorized {
    let bearer = Bearer(format!("Bearer {key}").parse().unwrap());
    InterceptedService::new(plain(address).await, bearer)
}
