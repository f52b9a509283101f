use std::fmt;
use std::sync::Arc;

use reqscope::error::Stage;
use reqscope::{Error, Exit};

use super::act;
use crate::gate::Gate;
use crate::outcome::Scripted;
use crate::records::{HandleState, Records};

/// A handle of a [`Probe`](crate::Probe): a number, and a record.
///
/// A handle is not `Clone`, because it has one owner. [`duplicate`](ProbeHandle::duplicate) is for resources that are
/// wrong on purpose.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Health, Resource};
/// use reqscope_testkit::Probe;
///
/// let probe = Probe::new();
/// let mut handle = probe.acquire().await.unwrap();
/// assert_eq!(handle.id(), 0); // the first one
/// handle.taken_by(7);
/// handle.use_once();
///
/// handle.kill();
/// assert_eq!(probe.probe(&handle), Health::Dead);
/// # });
/// ```
pub struct ProbeHandle {
    id: u64,
    user: u64,
    records: Arc<Records>,
    operate: Gate,
}

impl ProbeHandle {
    pub(super) fn new(id: u64, records: Arc<Records>, operate: Gate) -> Self {
        ProbeHandle { id, user: 0, records, operate }
    }

    /// Returns the number of the handle. Handles are numbered from 0, in the order in which they were made.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Sets the user for the uses that follow. Defaults to user 0, because most tests have one user.
    pub fn taken_by(&mut self, user: u64) {
        self.user = user;
    }

    /// Uses the handle once, without waiting.
    pub fn use_once(&mut self) {
        self.records.used(self.id, self.user);
    }

    /// Uses the handle for an operation that goes through the gate of [`Verb::Operate`](crate::Verb::Operate).
    ///
    /// # Errors
    ///
    /// Returns an error with the cause [`Scripted`] if the outcome of the gate is an error.
    ///
    /// # Panics
    ///
    /// Panics if the outcome of the gate is a panic.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe, on purpose, like an operation of a real driver: if the future is dropped in the middle, the
    /// handle is `Dead` until it is validated.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use reqscope::{Health, Resource};
    /// use reqscope_testkit::{Probe, Verb, cancel_at};
    ///
    /// let probe = Probe::new();
    /// let mut handle = probe.acquire().await.unwrap();
    /// probe.on(Verb::Operate).never();
    /// assert!(cancel_at(1, handle.operate()).await.is_none());
    /// assert_eq!(probe.probe(&handle), Health::Dead);
    ///
    /// probe.validate(&mut handle).await.unwrap();
    /// assert_eq!(probe.probe(&handle), Health::Ready);
    /// # });
    /// ```
    pub async fn operate(&mut self) -> Result<(), Error<Scripted>> {
        self.use_once();
        self.records.set_operating(self.id, Some(self.user));
        let end = self.operate.end().await;
        let answer = act(end, Stage::Using);
        // An error ends the operation, too; only a panic or a drop leaves it in the middle.
        self.records.set_operating(self.id, None);
        answer
    }

    /// Breaks the handle permanently: [`probe`](reqscope::Resource::probe) returns `Dead` for it.
    pub fn kill(&mut self) {
        self.records.killed(self.id);
    }

    /// Creates a second value with the same number, for a wrong resource that gives one handle to two owners.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use reqscope::{Exit, Resource};
    /// use reqscope_testkit::Probe;
    ///
    /// let probe = Probe::new();
    /// let handle = probe.acquire().await.unwrap();
    /// probe.release(handle.duplicate(), Exit::Failed).await.unwrap();
    /// probe.release(handle, Exit::Failed).await.unwrap();
    /// assert_eq!(probe.counts().double_released, 1);
    /// # });
    /// ```
    #[must_use]
    pub fn duplicate(&self) -> Self {
        self.records.duplicated(self.id);
        ProbeHandle {
            id: self.id,
            user: self.user,
            records: Arc::clone(&self.records),
            operate: self.operate.clone(),
        }
    }

    pub(super) fn prove(&mut self) {
        self.records.validated(self.id);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.records.is_dead(self.id)
    }

    pub(super) fn leave(&self, exit: Exit) {
        self.records.release_began(self.id, exit);
    }

    pub(super) fn released(self) {
        self.records.ended(self.id, HandleState::Released);
    }

    pub(super) fn reclaimed(self) {
        self.records.ended(self.id, HandleState::Reclaimed);
    }
}

impl Drop for ProbeHandle {
    fn drop(&mut self) {
        self.records.dropped(self.id);
    }
}

impl fmt::Debug for ProbeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeHandle").field("id", &self.id).field("user", &self.user).finish_non_exhaustive()
    }
}
