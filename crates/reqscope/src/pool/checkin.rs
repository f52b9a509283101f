//! The way back: at once where nothing speaks against it, else through a proof.

use std::sync::Arc;

use super::config::Reset;
use super::doubtful::Doubtful;
use super::inner::Inner;
use super::pooled::Pooled;
use crate::Exit;
use crate::lease::look;
use crate::resource::{Health, Resource};

impl<R: Resource> Inner<R> {
    /// Back at once, if its use ended in order and nobody asked for more.
    #[inline]
    pub(super) fn reclaim(mut pooled: Pooled<R>, exit: Exit) -> Result<(), Pooled<R>> {
        let pool = pooled.pool();
        if exit.is_in_doubt() || pool.config.reset == Reset::Always || look(&*pool.resource, &pooled) == Health::Dead
        {
            return Err(pooled);
        }
        let handle = pooled.take();
        pooled.pool().put(pooled.slot(), handle);
        Ok(())
    }

    /// Back after a proof.
    pub(super) async fn release(mut pooled: Pooled<R>, exit: Exit) {
        let handle = pooled.take();
        // If this is dropped, at any point, the object ends.
        let doubtful = Doubtful::new(Arc::clone(pooled.pool()), pooled.slot(), handle);
        doubtful.prove(exit).await;
    }
}
