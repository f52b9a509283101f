//! The server's handlers: `/ping` does without the backend, every other path needs it.
use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use reqscope::{Error, Lazy, Pool};
use reqscope_hyper::RequestExt;
use tokio::time::timeout;

use crate::ECHO_TIMEOUT;
use crate::echo::Echo;

pub(crate) async fn answer(
    request: Request<Incoming>,
    pool: Arc<Pool<Echo>>,
) -> Result<Response<String>, Infallible> {
    let answer = match request.uri().path() {
        "/ping" => Ok("pong".to_owned()),
        _ => hello(request.scope().lazy(&pool)).await,
    };
    Ok(answer.map(Response::new).unwrap_or_else(|error| {
        let mut response = Response::new(error.to_string());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    }))
}

async fn hello(backend: Lazy<Pool<Echo>>) -> Result<String, Error<io::Error>> {
    let mut connection = backend.get().await?;
    let echo = timeout(ECHO_TIMEOUT, connection.echo(b"hello")).await.map_err(io::Error::from)??;
    Ok(String::from_utf8_lossy(&echo).into_owned())
}
