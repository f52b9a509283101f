use std::time::Duration;

use super::direction::Direction;
use super::inner::Inner;
use super::script::Script;

/// Some connections of a [`FaultProxy`](crate::FaultProxy): the open ones, those to come, all, or one of them.
///
/// What they are fin_sent takes effect at once: when the call returns, not a byte more passes that should not, and the
/// FIN or the reset is on its way. It is the last word: a script takes the place of the one before, and lifts the stall
/// or the delay that this had set.
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

    /// They play this script from now on, or from their beginning if they have yet to come.
    pub fn play(&self, script: Script) {
        let news = {
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
        news.iter().for_each(|news| news.notify_waiters());
    }

    /// [`Script::stall`]: nothing is forwarded, and nothing is lost.
    pub fn stall(&self, direction: Direction) {
        self.play(Script::new().stall(direction));
    }

    /// [`Script::black_hole`]: everything is swallowed, for good.
    pub fn black_hole(&self, direction: Direction) {
        self.play(Script::new().black_hole(direction));
    }

    /// [`Script::delay`]: everything arrives so much later.
    pub fn delay(&self, direction: Direction, time: Duration) {
        self.play(Script::new().delay(direction, time));
    }

    /// [`Script::half_close`]: a FIN in this direction, while the other goes on.
    pub fn half_close(&self, direction: Direction) {
        self.play(Script::new().half_close(direction));
    }

    /// [`Script::cut`]: a FIN to both.
    pub fn cut(&self) {
        self.play(Script::new().cut());
    }

    /// [`Script::reset`]: a reset to both.
    pub fn reset(&self) {
        self.play(Script::new().reset());
    }

    /// They play the empty script: everything is forwarded, and what a stall had kept arrives.
    pub fn heal(&self) {
        self.play(Script::new());
    }
}

impl Which {
    /// Is the open one with this number among them?
    fn is_open(self, number: usize) -> bool {
        match self {
            Which::Open | Which::All => true,
            Which::Coming | Which::Next => false,
            Which::Nth(nth) => nth == number,
        }
    }
}
