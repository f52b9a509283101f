//! The way back: at once where nothing speaks against it, else through a proof.

use super::config::Reset;
use super::doubtful::Doubtful;
use super::inner::Inner;
use super::pooled::{Parts, Pooled};
use crate::Exit;
use crate::lease::look;
use crate::resource::{Health, Resource};

impl<R: Resource> Inner<R> {
    /// Back at once, if its use ended in order and nobody asked for more. One that does not look ready is proved on
    /// its way: among the idle ones it could hold a lock, and whoever takes it next would have to wait for the proof.
    #[inline]
    pub(super) fn reclaim(pooled: Pooled<R>, exit: Exit) -> Result<(), Pooled<R>> {
        let pool = pooled.pool();
        if exit.is_in_doubt() || pool.config.reset == Reset::Always {
            return Err(pooled);
        }
        match look(&*pool.resource, &pooled) {
            Health::Ready => {
                let Parts { pool, slot, handle } = pooled.into_parts();
                pool.put(slot, handle);
                Ok(())
            }
            Health::Unknown => {
                // Its drop does that.
                drop(pooled);
                Ok(())
            }
            _ => Err(pooled),
        }
    }

    /// Back after a proof.
    pub(super) async fn release(pooled: Pooled<R>, exit: Exit) {
        let Parts { pool, slot, handle } = pooled.into_parts();
        // If this is dropped, at any point, the object ends.
        let doubtful = Doubtful::new(pool, slot, handle);
        doubtful.prove(exit).await;
    }
}
