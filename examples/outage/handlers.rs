//! What the server does on its two paths.
use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use reqscope::{Error, Lazy, Pool};
use reqscope_hyper::RequestExt;
use tokio::time::timeout;

use crate::PATIENCE;
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

async fn hello(line: Lazy<Pool<Echo>>) -> Result<String, Error<io::Error>> {
    let mut line = line.get().await?;
    let heard = timeout(PATIENCE, line.echo(b"hello")).await.map_err(io::Error::from)??;
    Ok(String::from_utf8_lossy(&heard).into_owned())
}
