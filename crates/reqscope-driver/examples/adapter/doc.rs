// What the examples in the docs of this crate begin with: the adapter, a server, and a pool of connections to it.

mod kv {
    include!("kv.rs");
}
mod server {
    include!("server.rs");
}

use kv::{Kv, KvConn, KvError};
use server::Server;

async fn start() -> (Server, std::sync::Arc<reqscope::Pool<Kv>>) {
    let server = Server::start().await.expect("a free port");
    let kv = Kv { host: "127.0.0.1", port: server.port(), limit: std::time::Duration::from_secs(30) };
    (server, std::sync::Arc::new(reqscope::Pool::new(kv)))
}
