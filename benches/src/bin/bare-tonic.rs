//! The floor of a permission check over gRPC: tonic's own server with the same messages and a constant answer, no layer
//! before it and nothing behind it.

use clap::Parser;
use proto::permissions::v1::{CheckRequest, CheckResponse, Verdict};
use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    task::{Context, Poll},
};
use tonic::{Request, Response, Status, body::Body, server::UnaryService, service::Routes};
use tonic_prost::ProstCodec;
use tower::Service;

/// As in Tollgate: allocators are not what is compared.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A bare tonic server.
#[derive(Debug, Parser)]
struct Args {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:18100")]
    listen: SocketAddr,
}

#[derive(Debug, Clone)]
struct Bare;

struct Answer;

impl UnaryService<CheckRequest> for Answer {
    type Response = CheckResponse;
    type Future = Ready<Result<Response<CheckResponse>, Status>>;

    fn call(&mut self, _: Request<CheckRequest>) -> Self::Future {
        ready(Ok(Response::new(CheckResponse {
            verdict: Verdict::Allowed.into(),
            reason: "GRANTED".to_owned(),
            grant_id: "00000000-0000-0000-0000-000000000000".to_owned(),
            token: "a".repeat(32),
            ..CheckResponse::default()
        })))
    }
}

impl Service<http::Request<Body>> for Bare {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<CheckResponse, CheckRequest>::default());
            Ok(grpc.unary(Answer, request).await)
        })
    }
}

impl tonic::server::NamedService for Bare {
    const NAME: &'static str = "tollgate.permissions.v1.AuthorizationService";
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // One core is all that it gets.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let server = tonic::transport::Server::builder().tcp_nodelay(true).add_routes(Routes::new(Bare));
    Ok(runtime.block_on(server.serve(args.listen))?)
}
