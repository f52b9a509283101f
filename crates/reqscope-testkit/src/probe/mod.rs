mod handle;

use std::sync::Arc;

use parking_lot::Mutex;
use reqscope::error::Stage;
use reqscope::{Error, Exit, Health, Resource};

use crate::gate::Gate;
use crate::outcome::{End, Scripted};
use crate::panics::quiet_panic;
use crate::records::{Counts, Record, Records, Release};

pub use handle::ProbeHandle;

/// A resource that counts what is done to it.
///
/// Every handle has a number and a [`Record`]; [`counts`](Probe::counts) returns the totals. The probe notices a handle
/// that is released twice, used after its release, or dropped without a release (abandoned), and one that is used by a
/// second user after the operation of the first one was cancelled, with no validation in between.
///
/// Each method that can wait or fail goes through a [`Gate`]: `probe.on(Verb::Acquire).error().slow(3)` lets the next
/// `acquire` fail, and the one after that wait for three polls. All gates are open at first.
///
/// Clones are the same resource with the same records; a [`sibling`](Probe::sibling) is another resource with the
/// same records.
///
/// ```
/// use reqscope::{Exit, Resource};
/// use reqscope_testkit::{Probe, Verb};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let probe = Probe::new();
/// probe.on(Verb::Release).error();
///
/// let mut handle = probe.acquire().await.unwrap();
/// handle.use_once();
/// let id = handle.id();
/// assert!(probe.release(handle, Exit::Failed).await.is_err());
///
/// assert_eq!(probe.counts().live(), 0);
/// assert_eq!(probe.record(id).exits, [Exit::Failed]);
/// # });
/// ```
#[derive(Clone)]
pub struct Probe {
    records: Arc<Records>,
    gates: Arc<Gates>,
    behavior: Arc<Mutex<Behavior>>,
}

/// The methods of a [`Probe`] that can wait and fail, each with a [`Gate`] of its own.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::Resource;
/// use reqscope_testkit::{Probe, Verb};
///
/// let probe = Probe::new();
/// probe.on(Verb::Acquire).error();
/// assert!(probe.acquire().await.is_err());
/// assert!(probe.acquire().await.is_ok());
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verb {
    /// [`Resource::acquire`].
    Acquire,
    /// [`Resource::validate`].
    Validate,
    /// [`Resource::release`].
    Release,
    /// [`ProbeHandle::operate`].
    Operate,
}

struct Gates {
    acquire: Gate,
    validate: Gate,
    release: Gate,
    operate: Gate,
}

/// What the methods that do not wait return.
#[derive(Clone, Copy)]
struct Behavior {
    ready: usize,
    health: Health,
    reclaims: bool,
    settles: bool,
}

impl Probe {
    /// Creates a probe whose methods all succeed at once. Its handles are healthy, `try_acquire` returns none,
    /// `reclaim` takes none back, and `settles` returns `false`.
    pub fn new() -> Self {
        Self::with_records(Arc::new(Records::default()))
    }

    /// Creates another resource, with gates and settings of its own, that counts in the same records.
    ///
    /// The handles of all siblings are numbered together, so [`releases`](Probe::releases) shows the order across
    /// resources.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self::with_records(Arc::clone(&self.records))
    }

    pub(crate) fn with_records(records: Arc<Records>) -> Self {
        let gates =
            Gates { acquire: Gate::open(), validate: Gate::open(), release: Gate::open(), operate: Gate::open() };
        let behavior = Behavior { ready: 0, health: Health::Ready, reclaims: false, settles: false };
        Probe { records, gates: Arc::new(gates), behavior: Arc::new(Mutex::new(behavior)) }
    }

    /// Makes [`settles`](Resource::settles) return `true` for `Completed`, as that of a transaction does.
    ///
    /// ```
    /// use reqscope::{Exit, Resource};
    /// use reqscope_testkit::Probe;
    ///
    /// let transactions = Probe::new().settling();
    /// assert!(transactions.settles(Exit::Completed));
    /// assert!(!transactions.settles(Exit::Failed));
    /// ```
    #[must_use]
    pub fn settling(self) -> Self {
        self.behavior.lock().settles = true;
        self
    }

    /// Makes [`reclaim`](Resource::reclaim) take every handle back.
    ///
    /// With [`make_ready`](Probe::make_ready), this is a resource that never waits:
    ///
    /// ```
    /// use reqscope::{Exit, Resource};
    /// use reqscope_testkit::Probe;
    ///
    /// let probe = Probe::new().reclaiming();
    /// probe.make_ready(1);
    /// let handle = probe.try_acquire().unwrap();
    /// assert!(probe.try_acquire().is_none());
    /// probe.reclaim(handle, Exit::Completed).unwrap();
    /// assert_eq!(probe.counts().reclaimed, 1);
    /// ```
    #[must_use]
    pub fn reclaiming(self) -> Self {
        self.behavior.lock().reclaims = true;
        self
    }

    /// Makes the next `count` calls of [`try_acquire`](Resource::try_acquire) return a handle.
    pub fn make_ready(&self, count: usize) {
        self.behavior.lock().ready = count;
    }

    /// Sets what [`probe`](Resource::probe) returns. Defaults to `Ready`, because most tests are not about health. A
    /// handle that was [killed](ProbeHandle::kill), or whose last operation was cancelled, is always `Dead`.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use reqscope::{Health, Resource};
    /// use reqscope_testkit::Probe;
    ///
    /// let probe = Probe::new();
    /// probe.set_health(Health::Unknown);
    /// let handle = probe.acquire().await.unwrap();
    /// assert_eq!(probe.probe(&handle), Health::Unknown);
    /// # });
    /// ```
    pub fn set_health(&self, health: Health) {
        self.behavior.lock().health = health;
    }

    /// Returns the gate that all calls of this method go through.
    pub fn on(&self, verb: Verb) -> &Gate {
        match verb {
            Verb::Acquire => &self.gates.acquire,
            Verb::Validate => &self.gates.validate,
            Verb::Release => &self.gates.release,
            Verb::Operate => &self.gates.operate,
        }
    }

    /// Returns the totals over all handles, including those of the siblings.
    pub fn counts(&self) -> Counts {
        self.records.counts()
    }

    /// Returns what happened to this handle.
    ///
    /// # Panics
    ///
    /// Panics if no handle has this number.
    pub fn record(&self, handle: u64) -> Record {
        self.records.record(handle)
    }

    /// Returns the calls of `release` and `reclaim`, in the order in which they began.
    pub fn releases(&self) -> Vec<Release> {
        self.records.releases()
    }

    /// Kills all handles that exist, as a backend that goes away does: [`probe`](Resource::probe) returns `Dead` for
    /// them.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use reqscope::{Health, Resource};
    /// use reqscope_testkit::Probe;
    ///
    /// let probe = Probe::new();
    /// let before = probe.acquire().await.unwrap();
    /// probe.kill_all();
    /// let after = probe.acquire().await.unwrap();
    /// assert_eq!((probe.probe(&before), probe.probe(&after)), (Health::Dead, Health::Ready));
    /// # });
    /// ```
    pub fn kill_all(&self) {
        (0..self.counts().acquired).for_each(|id| self.records.killed(id));
    }

    fn make(&self) -> ProbeHandle {
        let id = self.records.acquired();
        ProbeHandle::new(id, Arc::clone(&self.records), self.gates.operate.clone())
    }
}

impl Default for Probe {
    fn default() -> Self {
        Self::new()
    }
}

impl Resource for Probe {
    type Handle = ProbeHandle;
    type Cause = Scripted;

    async fn acquire(&self) -> Result<ProbeHandle, Error<Scripted>> {
        // If this is cancelled while it waits, it has made nothing yet, and the drop of `call` counts it.
        let mut call = self.records.acquiring();
        let end = self.gates.acquire.end().await;
        call.answered();
        act(end, Stage::Acquiring)?;
        Ok(self.make())
    }

    async fn validate(&self, handle: &mut ProbeHandle) -> Result<(), Error<Scripted>> {
        let end = self.gates.validate.end().await;
        act(end, Stage::Validating)?;
        handle.prove();
        Ok(())
    }

    async fn release(&self, handle: ProbeHandle, exit: Exit) -> Result<(), Error<Scripted>> {
        handle.leave(exit);
        // If this is cancelled while it waits, the handle is dropped here and counts as abandoned.
        let end = self.gates.release.end().await;
        // A release that fails or panics still ends the handle.
        handle.released();
        act(end, Stage::Releasing)
    }

    fn try_acquire(&self) -> Option<ProbeHandle> {
        {
            let mut behavior = self.behavior.lock();
            behavior.ready = behavior.ready.checked_sub(1)?;
        }
        Some(self.make())
    }

    fn probe(&self, handle: &ProbeHandle) -> Health {
        if handle.is_dead() { Health::Dead } else { self.behavior.lock().health }
    }

    fn reclaim(&self, handle: ProbeHandle, exit: Exit) -> Result<(), ProbeHandle> {
        if !self.behavior.lock().reclaims {
            return Err(handle);
        }
        handle.leave(exit);
        handle.reclaimed();
        Ok(())
    }

    fn settles(&self, exit: Exit) -> bool {
        self.behavior.lock().settles && exit.is_completed()
    }
}

fn act(end: End, stage: Stage) -> Result<(), Error<Scripted>> {
    match end {
        End::Ok => Ok(()),
        End::Error => Err(Error::failed(Scripted).at(stage)),
        End::Permanent => Err(Error::permanent(Scripted).at(stage)),
        End::Panic => quiet_panic(format!("scripted panic while {stage}")),
        End::Never => unreachable!("the wait of an outcome that never ends does not return"),
    }
}
