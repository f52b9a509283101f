use reqscope::Exit;

use crate::client::RequestSpec;
use crate::event::Event;
use crate::handler::{self, Handler};
use crate::server::TestServer;
use crate::{BoxFuture, Protocol, Seen, Setup, Stack};

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
