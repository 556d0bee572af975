//! The floor of a gateway on this stack: hyper's server and hyper's pooling client, a request read whole, as whoever
//! must know its model has to, and an answer passed on as it comes. Nothing is asked, counted, or written down. Alone, it
//! is the floor of an answer from memory.

use anyhow::Context;
use bytes::Bytes;
use clap::Parser;
use http::{Request, Response, Uri, uri};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use std::net::SocketAddr;
use tokio::{net::TcpListener, task::JoinSet};

/// As in Tollgate: allocators are not what is compared.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A bare HTTP/1.1 proxy.
#[derive(Debug, Parser)]
struct Args {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:18004")]
    listen: SocketAddr,
    /// The engine, as `host:port`.
    #[arg(long, default_value = "127.0.0.1:18000")]
    engine: uri::Authority,
    /// Answers by itself, the same each time.
    #[arg(long)]
    alone: bool,
}

/// As long as a small completion.
static ANSWER: [u8; 450] = [b' '; 450];

type Engines = Client<HttpConnector, Full<Bytes>>;

async fn pass_on(
    engines: Engines,
    engine: uri::Authority,
    request: Request<Incoming>,
) -> anyhow::Result<Response<Incoming>> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.into_parts().path_and_query.context("a request without a path")?;
    head.uri = Uri::builder().scheme("http").authority(engine).path_and_query(path).build()?;
    let body = Full::new(body.collect().await?.to_bytes());
    Ok(engines.request(Request::from_parts(head, body)).await?)
}

async fn answer(request: Request<Incoming>) -> anyhow::Result<Response<Full<Bytes>>> {
    request.into_body().collect().await?;
    Ok(Response::new(Full::new(Bytes::from_static(&ANSWER))))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let engines = Client::builder(TokioExecutor::new()).build(connector);
    let listener = TcpListener::bind(args.listen).await?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        while connections.try_join_next().is_some() {}
        let stream = TokioIo::new(stream);
        if args.alone {
            connections.spawn(http1::Builder::new().serve_connection(stream, service_fn(answer)));
            continue;
        }
        let (engines, engine) = (engines.clone(), args.engine.clone());
        let service = service_fn(move |request| pass_on(engines.clone(), engine.clone(), request));
        connections.spawn(http1::Builder::new().serve_connection(stream, service));
    }
}
