//! What a pool is put in front of.

use std::future::Future;

/// Makes what is pooled. Each contender calls these verbs as its own docs say they are meant.
pub(crate) trait Backend: Send + Sync + 'static {
    type Object: Send + Sync + 'static;

    /// Whether the verbs do nothing at all, and who has objects of his own can leave them out.
    const IS_NOTHING: bool = false;

    /// Makes one.
    fn create(&self) -> impl Future<Output = Result<Self::Object, Refused>> + Send;

    /// A look at it in passing, which costs nothing.
    fn is_broken(&self, object: &Self::Object) -> bool;

    /// Asks it whether it is sound.
    fn validate(&self, object: &Self::Object) -> impl Future<Output = Result<(), Refused>> + Send;

    /// Ends it in order, for whoever has a place for that.
    fn release(&self, object: Self::Object) -> impl Future<Output = ()> + Send;

    /// Which one it is.
    fn id(object: &Self::Object) -> u64;
}

/// Why there is no object.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) String);

impl Refused {
    pub(crate) fn by(error: impl std::fmt::Display) -> Refused {
        Refused(error.to_string())
    }
}

/// A backend that never waits: what is measured over it is the pool alone.
///
/// There are two of it, so that what is counted by instructions has one caller only: what a single caller has in line,
/// two callers call.
pub(crate) struct Ready<const COUNTED: bool>;

impl<const COUNTED: bool> Backend for Ready<COUNTED> {
    type Object = u64;

    const IS_NOTHING: bool = true;

    async fn create(&self) -> Result<u64, Refused> {
        Ok(7)
    }

    fn is_broken(&self, _object: &u64) -> bool {
        false
    }

    async fn validate(&self, _object: &u64) -> Result<(), Refused> {
        Ok(())
    }

    async fn release(&self, _object: u64) {}

    fn id(object: &u64) -> u64 {
        *object
    }
}
