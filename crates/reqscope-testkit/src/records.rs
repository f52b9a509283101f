use parking_lot::Mutex;
use reqscope::Exit;

/// What happened to all the handles of a [`Probe`](crate::Probe) and its siblings.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::Resource;
/// use reqscope_testkit::Probe;
///
/// let probe = Probe::new();
/// let kept = probe.acquire().await.unwrap();
/// drop(probe.acquire().await.unwrap()); // without a release
///
/// let counts = probe.counts();
/// assert_eq!((counts.acquired, counts.abandoned, counts.live()), (2, 1, 1));
/// # drop(kept);
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Calls of `acquire` that were polled at least once.
    pub acquires: u64,
    /// Calls of `acquire` that are under way.
    pub acquiring: u64,
    /// Calls of `acquire` that were dropped before they ended.
    pub acquires_cut: u64,
    /// Handles made by `acquire` or `try_acquire`.
    pub acquired: u64,
    /// Calls of `validate` that succeeded.
    pub validated: u64,
    /// Handles whose `release` ran to its end, successful or not.
    pub released: u64,
    /// Handles taken back by `reclaim`.
    pub reclaimed: u64,
    /// Handles dropped without a release, or in the middle of one.
    pub abandoned: u64,
    /// Releases of a handle that had been released or reclaimed before.
    pub double_released: u64,
    /// Uses of a handle after its release.
    pub used_after_release: u64,
    /// Uses of a handle after the operation of another user was cancelled in the middle, with no `validate` in between.
    pub used_in_doubt: u64,
}

impl Counts {
    /// Returns the number of live handles: made, and neither released, reclaimed nor abandoned.
    pub fn live(&self) -> u64 {
        self.acquired - self.released - self.reclaimed - self.abandoned
    }
}

/// What happened to one handle of a [`Probe`](crate::Probe).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Exit, Resource};
/// use reqscope_testkit::{HandleState, Probe};
///
/// let probe = Probe::new();
/// let mut handle = probe.acquire().await.unwrap();
/// let id = handle.id();
/// handle.use_once();
/// probe.release(handle, Exit::Completed).await.unwrap();
///
/// let record = probe.record(id);
/// assert_eq!((record.state, record.uses), (HandleState::Released, 1));
/// assert_eq!(record.exits, [Exit::Completed]);
/// # });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Its state now.
    pub state: HandleState,
    /// The exits passed to `release` or `reclaim`. More than one is a double release.
    pub exits: Vec<Exit>,
    /// How many times it was used.
    pub uses: u64,
    /// How many times it was validated with success.
    pub validated: u64,
}

/// The state of a handle of a [`Probe`](crate::Probe).
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::Resource;
/// use reqscope_testkit::{HandleState, Probe};
///
/// let probe = Probe::new();
/// let handle = probe.acquire().await.unwrap();
/// let id = handle.id();
/// assert_eq!(probe.record(id).state, HandleState::Live);
/// drop(handle);
/// assert_eq!(probe.record(id).state, HandleState::Abandoned);
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandleState {
    /// It is in use, or its release is under way.
    Live,
    /// Its `release` ran to the end.
    Released,
    /// `reclaim` took it back.
    Reclaimed,
    /// It was dropped without a release, or in the middle of one.
    Abandoned,
}

/// A call of `release` or `reclaim`.
///
/// In which order were the handles of two resources released?
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use reqscope::{Exit, Resource};
/// use reqscope_testkit::Probe;
///
/// let (inner, outer) = { let probe = Probe::new(); (probe.sibling(), probe) };
/// let (first, second) = (outer.acquire().await.unwrap(), inner.acquire().await.unwrap());
/// inner.release(second, Exit::Completed).await.unwrap();
/// outer.release(first, Exit::Completed).await.unwrap();
///
/// let order: Vec<u64> = outer.releases().iter().map(|release| release.handle).collect();
/// assert_eq!(order, [1, 0]);
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Release {
    /// The number of the handle.
    pub handle: u64,
    /// The exit that was passed.
    pub exit: Exit,
}

/// What a probe, its handles and its siblings record.
#[derive(Default)]
pub(crate) struct Records {
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    counts: Counts,
    handles: Vec<Tracked>,
    releases: Vec<Release>,
}

struct Tracked {
    record: Record,
    /// How many values with this number exist: one, unless it was duplicated.
    copies: usize,
    /// The user whose operation is under way, or was cancelled in the middle.
    operating: Option<u64>,
    killed: bool,
}

impl Records {
    pub(crate) fn counts(&self) -> Counts {
        self.tables.lock().counts
    }

    pub(crate) fn record(&self, id: u64) -> Record {
        self.tables.lock().handle(id).record.clone()
    }

    pub(crate) fn releases(&self) -> Vec<Release> {
        self.tables.lock().releases.clone()
    }

    /// Records that a call of `acquire` begins.
    pub(crate) fn acquiring(&self) -> Acquiring<'_> {
        let counts = &mut self.tables.lock().counts;
        counts.acquires += 1;
        counts.acquiring += 1;
        Acquiring { records: self, cancelled: true }
    }

    /// Records a new handle, and returns its number.
    pub(crate) fn acquired(&self) -> u64 {
        let mut tables = self.tables.lock();
        tables.counts.acquired += 1;
        let record = Record { state: HandleState::Live, exits: Vec::new(), uses: 0, validated: 0 };
        tables.handles.push(Tracked { record, copies: 1, operating: None, killed: false });
        tables.handles.len() as u64 - 1
    }

    pub(crate) fn duplicated(&self, id: u64) {
        self.tables.lock().handle(id).copies += 1;
    }

    pub(crate) fn validated(&self, id: u64) {
        let mut tables = self.tables.lock();
        tables.counts.validated += 1;
        let handle = tables.handle(id);
        handle.record.validated += 1;
        handle.operating = None;
    }

    pub(crate) fn killed(&self, id: u64) {
        self.tables.lock().handle(id).killed = true;
    }

    pub(crate) fn is_dead(&self, id: u64) -> bool {
        let mut tables = self.tables.lock();
        let handle = tables.handle(id);
        handle.killed || handle.operating.is_some()
    }

    pub(crate) fn used(&self, id: u64, user: u64) {
        let mut tables = self.tables.lock();
        let handle = tables.handle(id);
        handle.record.uses += 1;
        let in_doubt = handle.operating.is_some_and(|other| other != user);
        let after_release = !handle.record.exits.is_empty();
        tables.counts.used_in_doubt += u64::from(in_doubt);
        tables.counts.used_after_release += u64::from(after_release);
    }

    pub(crate) fn set_operating(&self, id: u64, user: Option<u64>) {
        self.tables.lock().handle(id).operating = user;
    }

    /// Records that a release or a reclaim begins.
    pub(crate) fn release_began(&self, id: u64, exit: Exit) {
        let mut tables = self.tables.lock();
        tables.releases.push(Release { handle: id, exit });
        let exits = &mut tables.handle(id).record.exits;
        exits.push(exit);
        let again = exits.len() > 1;
        tables.counts.double_released += u64::from(again);
    }

    /// Records that a handle is gone. Only the first call for a handle counts: a second release is a defect, but not a
    /// second end.
    pub(crate) fn ended(&self, id: u64, state: HandleState) {
        let mut tables = self.tables.lock();
        if tables.handle(id).record.state != HandleState::Live {
            return;
        }
        tables.handle(id).record.state = state;
        let counts = &mut tables.counts;
        match state {
            HandleState::Live => {}
            HandleState::Released => counts.released += 1,
            HandleState::Reclaimed => counts.reclaimed += 1,
            HandleState::Abandoned => counts.abandoned += 1,
        }
    }

    /// Records that a value with this number is dropped. The drop of the last one abandons the handle.
    pub(crate) fn dropped(&self, id: u64) {
        let last = {
            let mut tables = self.tables.lock();
            let handle = tables.handle(id);
            handle.copies -= 1;
            handle.copies == 0
        };
        if last {
            self.ended(id, HandleState::Abandoned);
        }
    }
}

impl Tables {
    fn handle(&mut self, id: u64) -> &mut Tracked {
        let index = usize::try_from(id).expect("numbers are indices");
        self.handles.get_mut(index).expect("no handle has this number")
    }
}

/// A call of `acquire` under way, until it is dropped. If it is dropped before `answered`, the call was cancelled.
pub(crate) struct Acquiring<'a> {
    records: &'a Records,
    cancelled: bool,
}

impl Acquiring<'_> {
    pub(crate) fn answered(&mut self) {
        self.cancelled = false;
    }
}

impl Drop for Acquiring<'_> {
    fn drop(&mut self) {
        let counts = &mut self.records.tables.lock().counts;
        counts.acquiring -= 1;
        counts.acquires_cut += u64::from(self.cancelled);
    }
}
