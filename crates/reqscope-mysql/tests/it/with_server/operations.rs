//! All methods of the driver's `Queryable` that send something to the server.

use std::pin::Pin;

use reqscope_mysql::MySqlConn;
use reqscope_mysql::mysql_async::prelude::Queryable;
use reqscope_mysql::mysql_async::{Error, Row};

type Operation<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

/// A method, with its name.
pub(crate) type Call = (&'static str, for<'a> fn(&'a mut MySqlConn, &'a str) -> Operation<'a>);

/// The methods that run a statement.
pub(crate) const STATEMENTS: [Call; 15] = [
    ("query_iter", |conn, text| Box::pin(async move { conn.query_iter(text).await.map(drop) })),
    ("query", |conn, text| Box::pin(async move { conn.query::<Row, _>(text).await.map(drop) })),
    ("query_first", |conn, text| Box::pin(async move { conn.query_first::<Row, _>(text).await.map(drop) })),
    ("query_map", |conn, text| Box::pin(async move { conn.query_map(text, |_: Row| ()).await.map(drop) })),
    ("query_fold", |conn, text| conn.query_fold(text, (), |(), _: Row| ())),
    ("query_drop", |conn, text| conn.query_drop(text)),
    ("query_stream", |conn, text| Box::pin(async move { conn.query_stream::<Row, _>(text).await.map(drop) })),
    ("exec_iter", |conn, text| Box::pin(async move { conn.exec_iter(text, ()).await.map(drop) })),
    ("exec", |conn, text| Box::pin(async move { conn.exec::<Row, _, _>(text, ()).await.map(drop) })),
    ("exec_first", |conn, text| Box::pin(async move { conn.exec_first::<Row, _, _>(text, ()).await.map(drop) })),
    ("exec_map", |conn, text| Box::pin(async move { conn.exec_map(text, (), |_: Row| ()).await.map(drop) })),
    ("exec_fold", |conn, text| conn.exec_fold(text, (), (), |(), _: Row| ())),
    ("exec_drop", |conn, text| conn.exec_drop(text, ())),
    ("exec_batch", |conn, text| conn.exec_batch(text, [(), ()])),
    ("exec_stream", |conn, text| Box::pin(async move { conn.exec_stream::<Row, _, _>(text, ()).await.map(drop) })),
];

/// The methods that do not.
pub(crate) const OTHERS: [Call; 2] = [
    ("ping", |conn, _text| conn.ping()),
    ("prep", |conn, text| Box::pin(async move { conn.prep(text).await.map(drop) })),
];
