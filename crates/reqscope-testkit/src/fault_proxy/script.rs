use std::collections::VecDeque;
use std::time::Duration;

use super::direction::Direction;
use crate::gate::Gate;

/// What a connection through a [`FaultProxy`](crate::FaultProxy) meets, in order.
///
/// Between two steps not a byte passes: `forward(ToClient, 120).reset()` lets the client have 120 bytes of the answer,
/// and the next thing that it sees is the reset. After the last step the connection stays as it is; the empty script
/// forwards everything, to the end.
///
/// Its clones are played independently, but a [`Gate`] in them is the same gate.
///
/// ```
/// use reqscope_testkit::{Direction, Gate, Script};
///
/// let gate = Gate::closed();
/// let script = Script::new()
///     .forward(Direction::ToClient, 120) // so much of the answer, not a byte more,
///     .stall(Direction::Both)
///     .pass(&gate) // until the test says `gate.ok()`
///     .reset();
/// ```
#[derive(Clone, Default)]
#[must_use = "a script does nothing until a connection plays it"]
pub struct Script {
    pub(super) steps: VecDeque<Step>,
}

#[derive(Clone)]
pub(super) enum Step {
    Forward(Direction, u64),
    Pause(Duration),
    Pass(Gate),
    Stall(Direction),
    BlackHole(Direction),
    Delay(Direction, Duration),
    HalfClose(Direction),
    Heal,
    Cut,
    Reset,
}

impl Script {
    /// The empty script: forwards everything.
    pub fn new() -> Self {
        Self::default()
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push_back(step);
        self
    }

    /// Waits until `bytes` more bytes have passed in this direction (in [`Both`](Direction::Both): in sum), and lets
    /// no byte more pass there before the next step has begun. 0 is over at once.
    ///
    /// If the sender closes before that, its FIN passes and the step never ends. Nor does it end where nothing passes:
    /// in a stall, a black hole or a direction that is half closed.
    pub fn forward(self, direction: Direction, bytes: u64) -> Self {
        self.then(Step::Forward(direction, bytes))
    }

    /// Waits on tokio's clock. Bytes pass meanwhile, unless a step before this one has stopped them.
    ///
    /// A clock that is paused runs ahead as soon as everybody waits, even if it is for a socket.
    pub fn pause(self, time: Duration) -> Self {
        self.then(Step::Pause(time))
    }

    /// Waits until the gate has let this connection through, with whichever outcome. Bytes pass meanwhile, unless a
    /// step before this one has stopped them.
    pub fn pass(self, gate: &Gate) -> Self {
        self.then(Step::Pass(gate.clone()))
    }

    /// From here on not a byte is forwarded, nor a FIN, nor a reset; all sockets stay open. What comes waits, first in
    /// the proxy, then in the sender, until [`heal`](Script::heal).
    pub fn stall(self, direction: Direction) -> Self {
        self.then(Step::Stall(direction))
    }

    /// From here on everything is read and nothing is forwarded: no byte, no FIN, no reset. In both directions this is
    /// a peer that has vanished without a packet; except that the system goes on to acknowledge what is sent, keepalive
    /// probes too. A deadline on an operation notices it, keepalive and `TCP_USER_TIMEOUT` do not.
    ///
    /// This is for good, as a stream with a hole in it is none that TCP could deliver: [`heal`](Script::heal) does not
    /// help this connection, only those to come. One that comes into a black hole of both directions is accepted and
    /// never answered, and the server does not hear of it.
    pub fn black_hole(self, direction: Direction) -> Self {
        self.then(Step::BlackHole(direction))
    }

    /// From here on each chunk arrives this much later than it would, a FIN too. Zero is no delay.
    ///
    /// It is a latency and not a rate: a chunk does not wait for the one before, as long as the proxy has room (64 KiB
    /// in each direction). It runs on tokio's clock.
    pub fn delay(self, direction: Direction, time: Duration) -> Self {
        self.then(Step::Delay(direction, time))
    }

    /// Sends a FIN in this direction, as if the sender had shut down its write side; the other direction goes on.
    ///
    /// For good. What the sender still sends is swallowed.
    pub fn half_close(self, direction: Direction) -> Self {
        self.then(Step::HalfClose(direction))
    }

    /// Lifts stalls and delays. What had been kept arrives.
    pub fn heal(self) -> Self {
        self.then(Step::Heal)
    }

    /// Ends the connection, with a FIN to both.
    ///
    /// The sockets are closed then, so what a peer still writes is answered with a reset, as by a process that has
    /// gone. Bytes that the proxy had read and not yet forwarded are lost. Steps after this one are not played.
    pub fn cut(self) -> Self {
        self.then(Step::Cut)
    }

    /// Ends the connection, with a reset (RST) to both.
    ///
    /// Bytes that have not arrived are lost. Those that have are read before the error, on Linux; elsewhere the system
    /// may drop them, too. Steps after this one are not played.
    pub fn reset(self) -> Self {
        self.then(Step::Reset)
    }
}
