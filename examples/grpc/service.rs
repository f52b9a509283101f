//! What protoc would generate: the routes to the service, and a client.
use axum::Router;
use axum::extract::{Request, State};
use axum::http::uri::PathAndQuery;
use axum::response::Response;
use axum::routing::post;
use futures_util::TryStreamExt;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Status, client, server};
use tonic_prost::ProstCodec;

use crate::log::Log;
use crate::messages::{Line, Lines, Nothing, Total};

const APPEND: &str = "/log.Log/Append";
const READ: &str = "/log.Log/Read";

/// Returns the routes of the service. A tonic service is an axum router.
pub(crate) fn routes(log: Log) -> Routes {
    Router::new().route(APPEND, post(append)).route(READ, post(read)).with_state(log).into()
}

async fn append(State(log): State<Log>, request: Request) -> Response<Body> {
    let append = tower::service_fn(|request| log.clone().append(request));
    server::Grpc::new(ProstCodec::default()).unary(append, request).await
}

async fn read(State(log): State<Log>, request: Request) -> Response<Body> {
    let read = tower::service_fn(|request| log.clone().read(request));
    server::Grpc::new(ProstCodec::default()).server_streaming(read, request).await
}

pub(crate) struct Client(client::Grpc<Channel>);

impl Client {
    pub(crate) fn new(channel: Channel) -> Self {
        Client(client::Grpc::new(channel))
    }

    pub(crate) async fn append(&mut self, lines: &[&str]) -> Result<u32, Status> {
        self.ready().await?;
        let lines = Lines { lines: lines.iter().map(ToString::to_string).collect() };
        let path = PathAndQuery::from_static(APPEND);
        let total = self.0.unary(tonic::Request::new(lines), path, ProstCodec::<_, Total>::default()).await?;
        Ok(total.into_inner().total)
    }

    pub(crate) async fn read(&mut self) -> Result<Vec<String>, Status> {
        self.ready().await?;
        let (request, path) = (tonic::Request::new(Nothing {}), PathAndQuery::from_static(READ));
        let lines = self.0.server_streaming(request, path, ProstCodec::<_, Line>::default()).await?.into_inner();
        lines.map_ok(|line| line.text).try_collect().await
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.0.ready().await.map_err(|error| Status::unavailable(error.to_string()))
    }
}
