use std::fmt;
use std::time::Duration;

use reqscope::Exit;
use serde::Serialize;

use crate::client::Ask;
use crate::event::Event;
use crate::handler::{self, Handler};
use crate::layers::Layers;
use crate::world::World;
use crate::{BOUND, BoxFuture};

/// One way for a request to end.
pub struct Ending {
    /// What `--only` wants.
    pub name: &'static str,
    /// What happens.
    pub sentence: &'static str,
    /// Where it does not exist, and why.
    pub absent: &'static [Absent],
    /// Which resources it is about.
    pub resources: Resources,
    /// How the server is set up.
    pub setup: Setup,
    pub(crate) handler: Handler,
    pub(crate) client: for<'a> fn(&'a World) -> BoxFuture<'a, anyhow::Result<Seen>>,
    /// What must be observed.
    pub must: Must,
    /// Where something else must be.
    pub differs: &'static [Differs],
}

impl Ending {
    /// The client asks, and the handler uses its handle and answers.
    pub(crate) const PLAIN: Ending = Ending {
        name: "",
        sentence: "",
        absent: &[],
        resources: Resources::Both,
        setup: Setup::DEFAULT,
        handler: |call| Box::pin(handler::uses(call, 200)),
        client: |world| Box::pin(world.asks(Ask::GET)),
        must: Must::DONE,
        differs: &[],
    };

    /// The handler holds its handle until the client lets it go on, or is gone.
    pub(crate) const HOLDING: Ending =
        Ending { handler: |call| Box::pin(handler::holds(call)), must: Must::DROPPED, ..Ending::PLAIN };

    /// What must be observed there, and why, where that is not what must be elsewhere.
    pub fn must_on(&self, stack: Stack, protocol: Protocol) -> (&Must, Option<&'static str>) {
        let here = |differs: &&Differs| differs.stack.is_none_or(|on| on == stack) && differs.protocol == protocol;
        let differs = self.differs.iter().find(here);
        differs.map_or((&self.must, self.must.unsettled), |differs| (&differs.must, Some(differs.why)))
    }

    /// Why it does not exist there, if it does not.
    pub fn absent_on(&self, stack: Stack, protocol: Protocol) -> Option<&'static str> {
        self.absent.iter().find_map(|absent| match absent {
            Absent::Protocol(on, why) if *on == protocol => Some(*why),
            Absent::Stack(on, why) if *on == stack => Some(*why),
            _ => None,
        })
    }
}

/// Where an ending does not end as elsewhere, and why. It is what hyper does, not what one would want.
#[derive(Clone, Copy, Debug)]
pub struct Differs {
    /// On this stack, or on each.
    pub stack: Option<Stack>,
    /// And over this protocol.
    pub protocol: Protocol,
    /// Because of this.
    pub why: &'static str,
    /// What must be observed there.
    pub must: Must,
}

/// Where an ending does not exist, and why.
#[derive(Clone, Copy, Debug)]
pub enum Absent {
    /// On this protocol.
    Protocol(Protocol, &'static str),
    /// On this stack.
    Stack(Stack, &'static str),
}

/// What a request goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stack {
    /// A `ScopeService` around a hyper service.
    Hyper,
    /// A `ScopeLayer` around an axum `Router`.
    Axum,
}

/// How the client speaks.
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
    /// One after the other, and the same must be observed.
    Both,
    /// One whose release matters to the client, such as a COMMIT.
    Settling,
    /// One whose release does not.
    Plain,
}

impl Resources {
    /// Whether they settle, one after the other.
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
    /// What stands around or in the scope.
    pub(crate) layers: Layers,
    /// The deadline of the request.
    pub(crate) timeout: Option<Duration>,
    /// The interval between pings to an HTTP/2 client. It may take ten times as long to answer one, so that a client on a
    /// busy machine is not taken for one that has vanished.
    pub(crate) ping: Option<Duration>,
    pub(crate) half_close: bool,
    /// How long everything may take to come back after the client has ended.
    pub(crate) rest: Duration,
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
        rest: BOUND,
        close_timeout: BOUND,
        request_grace: BOUND,
        release_grace: BOUND,
    };

    /// A deadline that passes in the time of a test.
    pub(crate) const SOON: Duration = Duration::from_millis(50);
}

/// What must be observed.
#[derive(Clone, Copy, Debug)]
pub struct Must {
    /// What the resource is told, once for each handle, in that order.
    pub told: &'static [Exit],
    /// Handles that are given up at a deadline, of those that were told.
    pub abandoned: u64,
    /// What the client sees.
    pub sees: Seen,
    /// What proves that it happened: all of these.
    pub events: &'static [Event],
    /// Whether the server's report is clean.
    pub clean: bool,
    /// Why a client may see a success though the resource was not told `Completed`.
    pub unsettled: Option<&'static str>,
}

impl Must {
    pub(crate) const DONE: Must = Must {
        told: &[Exit::Completed],
        abandoned: 0,
        sees: Seen::Whole(200),
        events: &[Event::Returned, Event::BodyEnded],
        clean: true,
        unsettled: None,
    };

    pub(crate) const DROPPED: Must =
        Must { told: &[Exit::Cancelled], sees: Seen::Left, events: &[Event::Waits, Event::Dropped], ..Must::DONE };
}

/// What the client saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It did not wait.
    Left,
    /// No head.
    Nothing,
    /// The whole answer.
    Whole(u16),
    /// A head, and a body that breaks off.
    Cut(u16),
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Left => f.write_str("left"),
            Seen::Nothing => f.write_str("nothing"),
            Seen::Whole(status) => write!(f, "{status}"),
            Seen::Cut(status) => write!(f, "{status} cut"),
        }
    }
}
