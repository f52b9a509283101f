use std::collections::VecDeque;
use std::time::Duration;

use super::direction::Direction;
use crate::gate::Gate;

/// The faults of a connection through a [`FaultProxy`](crate::FaultProxy), in order.
///
/// No byte passes between two steps: after `forward(ToClient, 120).reset()` the client has 120 bytes of the answer, and
/// the next thing that it sees is the reset. After the last step the connection stays as it is. The empty script
/// forwards everything.
///
/// Clones are played independently, but a [`Gate`] in them is the same gate.
///
/// ```
/// use reqscope_testkit::{Direction, Gate, Script};
///
/// let gate = Gate::closed();
/// let script = Script::new()
///     .forward(Direction::ToClient, 120) // 120 bytes of the answer, and no more,
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
    /// Creates the empty script, which forwards everything.
    pub fn new() -> Self {
        Self::default()
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push_back(step);
        self
    }

    /// Waits until `bytes` more bytes have passed in this direction (for [`Both`](Direction::Both): in total). No
    /// further byte passes there before the next step has begun. With 0 it does not wait.
    ///
    /// If the sender closes before that, its FIN passes and the step never ends. The step does not end either while
    /// nothing passes: in a stall, in a black hole, or in a direction that is half closed.
    pub fn forward(self, direction: Direction, bytes: u64) -> Self {
        self.then(Step::Forward(direction, bytes))
    }

    /// Waits on tokio's clock. Bytes pass meanwhile, unless an earlier step has stopped them.
    ///
    /// A paused clock advances as soon as all tasks wait, even if they wait for a socket.
    pub fn pause(self, time: Duration) -> Self {
        self.then(Step::Pause(time))
    }

    /// Waits until the gate lets this connection through; the outcome does not matter. Bytes pass meanwhile, unless an
    /// earlier step has stopped them.
    pub fn pass(self, gate: &Gate) -> Self {
        self.then(Step::Pass(gate.clone()))
    }

    /// Stops forwarding in this direction: bytes, a FIN and a reset wait. All sockets stay open. What arrives waits in
    /// the proxy, and then in the sender, until [`heal`](Script::heal).
    pub fn stall(self, direction: Direction) -> Self {
        self.then(Step::Stall(direction))
    }

    /// Reads everything and forwards nothing: no byte, no FIN, no reset. In both directions this is a peer that has
    /// vanished without a packet, except that the system still acknowledges what is sent, including keepalive probes. A
    /// deadline on an operation notices it; keepalive and `TCP_USER_TIMEOUT` do not.
    ///
    /// This is permanent, because TCP cannot deliver a stream with a gap: [`heal`](Script::heal) helps later
    /// connections, but not this one. A new connection into a black hole of both directions is accepted and never
    /// answered, and the server does not notice it.
    pub fn black_hole(self, direction: Direction) -> Self {
        self.then(Step::BlackHole(direction))
    }

    /// Delays each chunk, and a FIN, by `time`. Zero is no delay.
    ///
    /// This is a latency and not a rate: a chunk does not wait for the one before, as long as the proxy has room (64
    /// KiB in each direction). It uses tokio's clock.
    pub fn delay(self, direction: Direction, time: Duration) -> Self {
        self.then(Step::Delay(direction, time))
    }

    /// Sends a FIN in this direction, as if the sender had shut down its write side. The other direction goes on.
    ///
    /// This is permanent. What the sender sends after it is swallowed.
    pub fn half_close(self, direction: Direction) -> Self {
        self.then(Step::HalfClose(direction))
    }

    /// Lifts stalls and delays. What was held back arrives.
    pub fn heal(self) -> Self {
        self.then(Step::Heal)
    }

    /// Closes the connection with a FIN to both ends.
    ///
    /// The sockets are closed then, so later writes by a peer are answered with a reset, as after the exit of a
    /// process. Bytes that the proxy had read and not yet forwarded are lost. Later steps are not played.
    pub fn cut(self) -> Self {
        self.then(Step::Cut)
    }

    /// Closes the connection with a reset (RST) to both ends.
    ///
    /// Bytes that have not arrived are lost. On Linux, bytes that have arrived are read before the error; other systems
    /// may drop them, too. Later steps are not played.
    pub fn reset(self) -> Self {
        self.then(Step::Reset)
    }
}
