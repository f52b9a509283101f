use std::time::Duration;

use super::direction::Direction;
use super::inner::Inner;
use super::script::Script;

/// Some connections of a [`FaultProxy`](crate::FaultProxy): the open ones, the future ones, all, or one of them.
///
/// A fault takes effect at once: when the call returns, no byte passes that should not, and the FIN or the reset is on
/// its way. A later call replaces an earlier one: its script takes the place of the one before, and lifts a stall or a
/// delay that was set.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use reqscope_testkit::{Direction, FaultProxy, Script};
/// use std::time::Duration;
///
/// let proxy = FaultProxy::start("127.0.0.1:9").unwrap();
/// proxy.open().reset();
/// proxy.nth(3).stall(Direction::ToClient);
/// proxy.coming().delay(Direction::Both, Duration::from_millis(20));
/// proxy.next().play(Script::new().forward(Direction::ToClient, 120).cut());
/// # });
/// ```
pub struct Connections<'a> {
    inner: &'a Inner,
    which: Which,
}

#[derive(Clone, Copy)]
pub(super) enum Which {
    Open,
    Coming,
    All,
    Next,
    Nth(usize),
}

impl<'a> Connections<'a> {
    pub(super) fn new(inner: &'a Inner, which: Which) -> Self {
        Connections { inner, which }
    }

    /// Plays this script from now on; future connections play it from their start.
    pub fn play(&self, script: Script) {
        let changed = {
            let mut state = self.inner.lock();
            match self.which {
                Which::Open => {}
                Which::Coming | Which::All => state.plan.rest(script.clone()),
                Which::Next => state.plan.next(script.clone()),
                Which::Nth(number) if number >= state.traffic.accepted => state.plan.nth(number, script.clone()),
                Which::Nth(_) => {}
            }
            state.play(|number| self.which.is_open(number), &script)
        };
        changed.iter().for_each(|changed| changed.notify_waiters());
    }

    /// Stalls: nothing is forwarded, and nothing is lost. See [`Script::stall`].
    pub fn stall(&self, direction: Direction) {
        self.play(Script::new().stall(direction));
    }

    /// Swallows everything, permanently. See [`Script::black_hole`].
    pub fn black_hole(&self, direction: Direction) {
        self.play(Script::new().black_hole(direction));
    }

    /// Delays everything by `time`. See [`Script::delay`].
    pub fn delay(&self, direction: Direction, time: Duration) {
        self.play(Script::new().delay(direction, time));
    }

    /// Sends a FIN in this direction, while the other one goes on. See [`Script::half_close`].
    pub fn half_close(&self, direction: Direction) {
        self.play(Script::new().half_close(direction));
    }

    /// Closes with a FIN to both ends. See [`Script::cut`].
    pub fn cut(&self) {
        self.play(Script::new().cut());
    }

    /// Closes with a reset to both ends. See [`Script::reset`].
    pub fn reset(&self) {
        self.play(Script::new().reset());
    }

    /// Plays the empty script: everything is forwarded, including what a stall has held back.
    pub fn heal(&self) {
        self.play(Script::new());
    }
}

impl Which {
    /// Returns whether the open connection with this number is selected.
    fn is_open(self, number: usize) -> bool {
        match self {
            Which::Open | Which::All => true,
            Which::Coming | Which::Next => false,
            Which::Nth(nth) => nth == number,
        }
    }
}
