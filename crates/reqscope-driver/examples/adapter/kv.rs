// An adapter for a key-value server, in the order in which one is written.
//
// 1. An error, which says by its class what a caller can do.
// 2. A connection, which goes through [`Flight`] for each operation and refuses everything after one that was cut.
// 3. A resource: how to connect, what to validate, how to stop a cut operation.
// 4. [`Transact`], for `Transaction`, `ReadOnly` and `attempts`.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::time::Duration;
use std::{fmt, io};

use reqscope::error::{Class, Stage};
use reqscope::{Error, Exit, Health, Resource};
use reqscope_driver::{Access, CommitError, DialError, Flight, NoGate, Transact, dial, dial_addresses};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

// 1. The error.

#[derive(Debug)]
pub(crate) enum KvError {
    /// The connection was lost.
    Io(io::Error),
    Dial(DialError<Box<KvError>>),
    /// The server has answered with an error.
    Server(String),
    TimedOut(Duration),
    /// An earlier operation was cut, and its answer is still on its way.
    InDoubt,
    NotOpen,
}

impl KvError {
    fn class(&self) -> Option<Class> {
        match self {
            KvError::Io(_) | KvError::Dial(_) => Some(Class::UNAVAILABLE),
            KvError::TimedOut(_) => Some(Class::TIMEOUT),
            KvError::Server(_) | KvError::InDoubt | KvError::NotOpen => None,
        }
    }

    fn at(self, stage: Stage) -> Error<KvError> {
        let error = match self.class() {
            Some(class) if class.is_unavailable() => Error::unavailable().with_cause(self),
            _ => match self {
                KvError::TimedOut(after) => Error::timeout(stage, after).with_cause(self),
                _ => Error::failed(self),
            },
        };
        error.at(stage)
    }
}

impl fmt::Display for KvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KvError::Io(_) => f.write_str("the connection was lost"),
            KvError::Dial(error) => error.fmt(f),
            KvError::Server(text) => write!(f, "the server answered: {text}"),
            KvError::TimedOut(after) => write!(f, "no answer within {after:?}"),
            KvError::InDoubt => f.write_str("an earlier operation on this connection was cut"),
            KvError::NotOpen => f.write_str("the transaction is no longer open"),
        }
    }
}

impl StdError for KvError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        if let Some(class) = self.class() {
            class.note();
        }
        match self {
            KvError::Io(error) => Some(error),
            KvError::Dial(error) => error.source(),
            _ => None,
        }
    }
}

// 2. The connection.

#[derive(Debug)]
pub(crate) struct KvConn {
    stream: BufStream<TcpStream>,
    address: SocketAddr,
    /// Its number on the server, by which it can be stopped.
    id: u64,
    flight: Flight,
    limit: Duration,
    in_transaction: bool,
    is_condemned: bool,
    /// How the connection was lost.
    lost: Option<io::ErrorKind>,
}

impl KvConn {
    async fn connect(address: SocketAddr, limit: Duration) -> Result<KvConn, KvError> {
        let stream = BufStream::new(TcpStream::connect(address).await.map_err(KvError::Io)?);
        let flight = Flight::new();
        let (in_transaction, is_condemned, lost) = (false, false, None);
        let mut conn = KvConn { stream, address, id: 0, flight, limit, in_transaction, is_condemned, lost };
        conn.id = number(read(&mut conn.stream).await?)?;
        Ok(conn)
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Sends a request and reads the answer.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is in doubt.
    pub(crate) async fn ask(&mut self, request: &str) -> Result<String, KvError> {
        if !self.is_usable() {
            return Err(KvError::InDoubt);
        }
        let KvConn { stream, flight, limit, .. } = self;
        let operation = async {
            stream.write_all(format!("{request}\n").as_bytes()).await.map_err(KvError::Io)?;
            stream.flush().await.map_err(KvError::Io)?;
            read(stream).await
        };
        // If this is dropped here, or takes too long, the operation stays in flight.
        let answer = flight.run(*limit, operation).await.map_err(|late| KvError::TimedOut(late.limit()))?;
        if let Err(KvError::Io(error)) = &answer {
            self.lost = Some(error.kind());
        }
        answer
    }

    pub(crate) async fn get(&mut self, key: &str) -> Result<i64, KvError> {
        let answer = self.ask(&format!("GET {key}")).await?;
        if answer.is_empty() { Ok(0) } else { number(answer) }
    }

    pub(crate) async fn set(&mut self, key: &str, value: i64) -> Result<(), KvError> {
        self.ask(&format!("SET {key} {value}")).await.map(drop)
    }

    fn is_usable(&self) -> bool {
        self.flight.is_clear() && !self.is_condemned && self.lost.is_none()
    }
}

async fn read(stream: &mut BufStream<TcpStream>) -> Result<String, KvError> {
    let mut line = String::new();
    if stream.read_line(&mut line).await.map_err(KvError::Io)? == 0 {
        return Err(KvError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    let line = line.trim_end();
    match line.strip_prefix("OK") {
        Some(answer) => Ok(answer.trim_start().to_owned()),
        None => Err(KvError::Server(line.trim_start_matches("ERR ").to_owned())),
    }
}

fn number<T: std::str::FromStr>(answer: String) -> Result<T, KvError> {
    answer.parse().map_err(|_| KvError::Server(answer))
}

// 3. The resource.

pub(crate) struct Kv {
    pub(crate) host: &'static str,
    pub(crate) port: u16,
    /// Of each operation.
    pub(crate) limit: Duration,
}

impl Resource for Kv {
    type Handle = KvConn;
    type Cause = KvError;

    async fn acquire(&self) -> Result<KvConn, Error<KvError>> {
        let connect = async |address| KvConn::connect(address, self.limit).await.map_err(Box::new);
        // If this is dropped here, the socket is closed.
        let dialled = dial(self.host, self.port, Duration::from_secs(5), connect).await;
        dialled.map_err(|error| KvError::Dial(error).at(Stage::Acquiring))
    }

    /// Makes sure that nothing of the last user is left. A pool calls it where it is in doubt.
    async fn validate(&self, conn: &mut KvConn) -> Result<(), Error<KvError>> {
        conn.in_transaction = false;
        conn.ask("RESET").await.map(drop).map_err(|cause| cause.at(Stage::Validating))
    }

    /// Stops an operation that was cut, and waits until the server has ended it: the slot in the pool is free only then.
    async fn release(&self, conn: KvConn, _exit: Exit) -> Result<(), Error<KvError>> {
        if conn.flight.is_clear() {
            return Ok(());
        }
        let (address, id) = (conn.address, conn.id);
        drop(conn);
        let control = dial_addresses(vec![address], Duration::from_secs(1), async |address| {
            KvConn::connect(address, Duration::from_secs(3)).await.map_err(Box::new)
        });
        let stopped = match control.await {
            Ok(mut control) => control.ask(&format!("KILL {id}")).await.map(drop),
            Err(error) => Err(KvError::Dial(error)),
        };
        stopped.map_err(|cause| cause.at(Stage::Releasing))
    }

    fn probe(&self, conn: &KvConn) -> Health {
        match conn.is_usable() {
            false => Health::Dead,
            true if conn.in_transaction => Health::Dirty,
            true => Health::Ready,
        }
    }

    /// Tells a pool that the server, and not a user, has ended the connection.
    fn fault(&self, conn: &KvConn) -> Option<Error<KvError>> {
        Some(Error::unavailable().with_cause(KvError::Io(conn.lost?.into())))
    }
}

// 4. Transactions.

impl Transact for KvConn {
    type Error = KvError;
    type Options = ();
    type Gate = NoGate;

    async fn begin(&mut self, _options: &(), _access: Access, (): ()) -> Result<(), KvError> {
        self.ask("BEGIN").await?;
        self.in_transaction = true;
        Ok(())
    }

    async fn commit(&mut self, _options: &()) -> Result<(), CommitError<KvError>> {
        self.check().await.map_err(CommitError::Refused)?;
        match self.ask("COMMIT").await {
            Ok(_) => {
                self.in_transaction = false;
                Ok(())
            }
            // Its answer says that nothing was committed.
            Err(cause @ KvError::Server(_)) => Err(CommitError::Refused(cause)),
            Err(cause) => Err(CommitError::Unknown(cause)),
        }
    }

    async fn roll_back(&mut self, _options: &()) -> Result<(), KvError> {
        if !self.is_usable() {
            // The release stops the operation, and the server rolls back.
            return Ok(());
        }
        self.ask("ROLLBACK").await?;
        self.in_transaction = false;
        Ok(())
    }

    async fn check(&mut self) -> Result<(), KvError> {
        match self.is_usable() {
            false => Err(KvError::InDoubt),
            true if !self.in_transaction => Err(KvError::NotOpen),
            true => Ok(()),
        }
    }

    fn is_open(&self) -> bool {
        self.is_usable() && self.in_transaction
    }

    fn condemn(&mut self) {
        self.is_condemned = true;
    }

    fn error_at(cause: KvError, stage: Stage) -> Error<KvError> {
        cause.at(stage)
    }

    fn is_try_again(error: &(dyn StdError + 'static)) -> bool {
        matches!(error.downcast_ref(), Some(KvError::Server(text)) if text == "conflict")
    }
}
