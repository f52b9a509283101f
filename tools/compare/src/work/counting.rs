use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::backend::{Backend, Refused};

/// A backend that counts its handles, and takes some time to create each.
#[derive(Default)]
pub(crate) struct Counting {
    created: AtomicU64,
    takes: Duration,
}

impl Counting {
    pub(crate) fn slow(takes: Duration) -> Counting {
        Counting { takes, ..Counting::default() }
    }

    pub(crate) fn created(&self) -> u64 {
        self.created.load(Ordering::Relaxed)
    }
}

impl Backend for Counting {
    type Handle = u64;

    async fn create(&self) -> Result<u64, Refused> {
        let id = self.created.fetch_add(1, Ordering::Relaxed);
        if !self.takes.is_zero() {
            sleep(self.takes).await;
        }
        Ok(id)
    }

    fn is_broken(&self, _object: &u64) -> bool {
        false
    }

    async fn validate(&self, _object: &u64) -> Result<(), Refused> {
        Ok(())
    }

    async fn release(&self, _object: u64) {}

    fn id(handle: &u64) -> u64 {
        *handle
    }
}
