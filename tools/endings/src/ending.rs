use std::fmt;
use std::time::Duration;

use reqscope::Exit;
use serde::Serialize;

use crate::client::RequestSpec;
use crate::event::Event;
use crate::handler::{self, Handler};
use crate::layers::Layers;
use crate::server::TestServer;
use crate::{BOUND, BoxFuture};

/// One way for a request to end.
pub struct Ending {
    /// Its name in the table and for `--only`.
    pub name: &'static str,
    /// What happens, in one sentence.
    pub sentence: &'static str,
    /// Where it does not exist, and why.
    pub absent: &'static [Absent],
    /// Which resources it is played with.
    pub resources: Resources,
    /// How the server is set up.
    pub setup: Setup,
    pub(crate) handler: Handler,
    pub(crate) client: for<'a> fn(&'a TestServer) -> BoxFuture<'a, anyhow::Result<Seen>>,
    /// What must be observed.
    pub expected: Expected,
    /// Where something else must be observed.
    pub exceptions: &'static [Exception],
}

impl Ending {
    /// The client sends a GET; the handler uses its handle and responds.
    pub(crate) const PLAIN: Ending = Ending {
        name: "",
        sentence: "",
        absent: &[],
        resources: Resources::Both,
        setup: Setup::DEFAULT,
        handler: |call| Box::pin(handler::use_and_respond(call, 200)),
        client: |server| Box::pin(server.fetch(RequestSpec::GET)),
        expected: Expected::COMPLETED,
        exceptions: &[],
    };

    /// The handler holds its handle until the client opens the gate or is gone.
    pub(crate) const HOLDING: Ending =
        Ending { handler: |call| Box::pin(handler::hold(call)), expected: Expected::DROPPED, ..Ending::PLAIN };

    /// Returns what must be observed on this stack and protocol, and a note if that needs an explanation.
    pub fn expected_on(&self, stack: Stack, protocol: Protocol) -> (&Expected, Option<&'static str>) {
        let here =
            |exception: &&Exception| exception.stack.is_none_or(|on| on == stack) && exception.protocol == protocol;
        let exception = self.exceptions.iter().find(here);
        exception
            .map_or((&self.expected, self.expected.unsettled), |exception| (&exception.expected, Some(exception.why)))
    }

    /// Returns why the ending does not exist on this stack or protocol; `None` if it does.
    pub fn absent_on(&self, stack: Stack, protocol: Protocol) -> Option<&'static str> {
        self.absent.iter().find_map(|absent| match absent {
            Absent::Protocol(on, why) if *on == protocol => Some(*why),
            Absent::Stack(on, why) if *on == stack => Some(*why),
            _ => None,
        })
    }
}

/// A stack or protocol on which an ending ends differently, because of what hyper does there.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// The stack; `None` means both.
    pub stack: Option<Stack>,
    /// The protocol.
    pub protocol: Protocol,
    /// The reason.
    pub why: &'static str,
    /// What must be observed there.
    pub expected: Expected,
}

/// A stack or protocol on which an ending does not exist, and the reason.
#[derive(Clone, Copy, Debug)]
pub enum Absent {
    /// Not over this protocol.
    Protocol(Protocol, &'static str),
    /// Not on this stack.
    Stack(Stack, &'static str),
}

/// What the server consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stack {
    /// A `ScopeService` around a hyper service.
    Hyper,
    /// A `ScopeLayer` around an axum `Router`.
    Axum,
}

/// Which protocol the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1, bytes over TCP.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// Which resources an ending is played with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resources {
    /// Each of the two kinds in turn, with the same result.
    Both,
    /// A resource whose release matters to the client, such as a COMMIT.
    Settling,
    /// A resource whose release does not.
    Plain,
}

impl Resources {
    /// Returns, for each run, whether the resource settles.
    pub(crate) fn settling(self) -> &'static [bool] {
        match self {
            Resources::Both => &[true, false],
            Resources::Settling => &[true],
            Resources::Plain => &[false],
        }
    }
}

/// How a server is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The layer inside or around the scope.
    pub(crate) layers: Layers,
    /// The timeout of the request.
    pub(crate) timeout: Option<Duration>,
    /// The interval between pings to an HTTP/2 client. The client may take ten times as long to answer one, so that on a
    /// busy machine it is not taken for one that has vanished.
    pub(crate) ping: Option<Duration>,
    pub(crate) half_close: bool,
    /// How long it may take, after the client has ended, until all handles are released.
    pub(crate) idle_bound: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) request_grace: Duration,
    pub(crate) release_grace: Duration,
}

impl Setup {
    pub(crate) const DEFAULT: Setup = Setup {
        layers: Layers::None,
        timeout: None,
        ping: None,
        half_close: false,
        idle_bound: BOUND,
        close_timeout: BOUND,
        request_grace: BOUND,
        release_grace: BOUND,
    };

    /// A time limit that an ending waits for.
    pub(crate) const SOON: Duration = Duration::from_millis(50);
}

/// What must be observed of an ending.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// The exits passed to `release`, one per handle, in order.
    pub exits: &'static [Exit],
    /// How many of these releases are abandoned at a deadline.
    pub abandoned: u64,
    /// What the client sees.
    pub seen: Seen,
    /// The events that prove that the ending happened. Each of them must occur.
    pub events: &'static [Event],
    /// Whether the server's report is clean.
    pub clean: bool,
    /// Why a client may see a success though the exit is not `Completed`.
    pub unsettled: Option<&'static str>,
}

impl Expected {
    /// The handler and the body complete, and the client sees a 200.
    pub(crate) const COMPLETED: Expected = Expected {
        exits: &[Exit::Completed],
        abandoned: 0,
        seen: Seen::Complete(200),
        events: &[Event::Returned, Event::BodyEnded],
        clean: true,
        unsettled: None,
    };

    /// The client leaves while the handler holds its handle, and the handler is dropped.
    pub(crate) const DROPPED: Expected = Expected {
        exits: &[Exit::Cancelled],
        seen: Seen::Left,
        events: &[Event::Waiting, Event::Dropped],
        ..Expected::COMPLETED
    };
}

/// What the client saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It did not wait for a response.
    Left,
    /// The connection or stream ended without a head.
    Nothing,
    /// The complete response.
    Complete(u16),
    /// A head, and a body that breaks off.
    Cut(u16),
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Left => f.write_str("left"),
            Seen::Nothing => f.write_str("nothing"),
            Seen::Complete(status) => write!(f, "{status}"),
            Seen::Cut(status) => write!(f, "{status} cut"),
        }
    }
}
