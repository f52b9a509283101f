use std::future::{Future, Ready, ready};

use reqscope::Exit;

/// Where the object of a request comes from. It does not refuse: no row is about that, and the cells that keep no
/// result are at their cheapest so.
pub(crate) trait Source: Send + Sync + 'static {
    /// It can be cloned, as `Shared` asks for.
    type Object: Clone + Send + Sync + Unpin + 'static;

    /// It has a name and can be moved, so that nobody has to box it.
    type Acquire: Future<Output = Self::Object> + Send + Unpin + 'static;

    /// Begins nothing before it is polled.
    fn acquire(&self) -> Self::Acquire;

    /// One that need not be waited for: for whoever asks.
    fn at_hand(&self) -> Option<Self::Object> {
        None
    }

    /// Given back, by whoever does more than drop it.
    fn release(&self, object: Self::Object, exit: Exit) -> impl Future<Output = ()> + Send;

    /// The same without waiting: for whoever asks.
    fn reclaim(&self, object: Self::Object, exit: Exit) -> Result<(), Self::Object> {
        let _exit = exit;
        Err(object)
    }
}

/// A source that never waits, and says so where it is asked: what is measured over it is the cell alone.
pub(crate) struct AtHand;

/// One that never waits either, but has only the verbs that might.
pub(crate) struct Plain;

const OBJECT: u64 = 7;

impl Source for AtHand {
    type Object = u64;
    type Acquire = Ready<u64>;

    fn acquire(&self) -> Ready<u64> {
        ready(OBJECT)
    }

    fn at_hand(&self) -> Option<u64> {
        Some(OBJECT)
    }

    async fn release(&self, _object: u64, _exit: Exit) {}

    fn reclaim(&self, _object: u64, _exit: Exit) -> Result<(), u64> {
        Ok(())
    }
}

impl Source for Plain {
    type Object = u64;
    type Acquire = Ready<u64>;

    fn acquire(&self) -> Ready<u64> {
        ready(OBJECT)
    }

    async fn release(&self, _object: u64, _exit: Exit) {}
}
