//! The state machine of the lazy cell alone: late results and cancels of an attempt, and that it drops, wakes and
//! clones no user values under its lock (L19).

use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};

use loom::thread;

use super::model;
use crate::cell::waiters::WaiterId;
use crate::cell::{Cell, Found, Phase, Site, Take};
use crate::scope::LazyState;

fn here() -> Site {
    Location::caller()
}

fn begin<L, S, E: Clone, K>(cell: &Cell<L, S, E, K>) -> u32 {
    match cell.take(&mut WaiterId::default(), here(), Waker::noop(), || ()) {
        Take::Begin(attempt, ()) => attempt,
        _ => panic!("another attempt is in progress"),
    }
}

#[test]
fn cancel_reaches_the_close_or_is_returned() {
    model(["found by the seal", "returned"], |endings| {
        let cell = Arc::new(Cell::<(), (), (), ()>::new());
        let attempt = begin(&cell);
        let setter = Arc::clone(&cell);
        let setter = thread::spawn(move || setter.set_cancel(attempt, ()).is_some());
        let found = matches!(cell.seal(), Found::Over(Phase::Acquiring(Some(()))));
        endings.note(match (found, setter.join().unwrap()) {
            (true, false) => "found by the seal",
            (false, true) => "returned",
            _ => "lost or duplicated",
        });
    });
}

#[test]
fn late_result_of_an_earlier_attempt_ends_nothing() {
    model([], |_| {
        let cell = Arc::new(Cell::<(), (), (), ()>::new());
        let earlier = begin(&cell);
        cell.retract(earlier);
        let late = Arc::clone(&cell);
        let late = thread::spawn(move || late.fail(earlier, &()));
        let attempt = begin(&cell);
        assert!(cell.deliver(attempt, (), ()).is_ok());
        late.join().unwrap();
        assert_eq!(cell.state(), LazyState::Ready);
    });
}

#[test]
fn cell_can_be_called_by_all_code_that_it_calls() {
    let endings: [fn(&Arc<NosyCell>, u32, CellCaller); 4] = [
        |cell, attempt, error| assert!(cell.fail(attempt, &error)),
        |cell, attempt, lent| assert!(cell.deliver(attempt, CellCaller::clone(&lent), lent).is_ok()),
        |cell, attempt, lent| {
            drop(cell.lend_out(attempt, CellCaller::clone(&lent), here()));
            drop(cell.give_back(lent));
        },
        |cell, _, _| drop(cell.seal()),
    ];
    for ending in endings {
        model([], move |_| {
            let (cell, alive) = (Arc::new(NosyCell::new()), Arc::new(AtomicUsize::new(0)));
            let attempt = begin(&cell);
            // An earlier waiter makes the other one yield, and leave with a waker that was not woken.
            let mut before = WaiterId::default();
            assert!(matches!(cell.take(&mut before, here(), Waker::noop(), || ()), Take::Wait(None)));
            let (theirs, counted) = (Arc::clone(&cell), Arc::clone(&alive));
            let waiter = thread::spawn(move || {
                let mut waiter = WaiterId::default();
                for _ in 0..2 {
                    // Another waker at each poll, which replaces the earlier one.
                    let waker = Waker::from(Arc::new(CellCaller::new(&theirs, &counted)));
                    match theirs.take(&mut waiter, here(), &waker, || ()) {
                        Take::Begin(attempt, ()) => theirs.retract(attempt),
                        Take::Lent(lent) => drop(theirs.give_back(lent)),
                        _ => {}
                    }
                }
                theirs.leave(&mut waiter);
            });
            drop(cell.set_cancel(attempt, CellCaller::new(&cell, &alive)));
            ending(&cell, attempt, CellCaller::new(&cell, &alive));
            waiter.join().unwrap();
            cell.leave(&mut before);
            drop(cell.seal());
            assert_eq!(alive.load(Ordering::Relaxed), 0);
        });
    }
}

type NosyCell = Cell<CellCaller, CellCaller, CellCaller, CellCaller>;

/// A handle, an error, a cancel and a waker that locks the cell when it is woken or dropped, a deadlock under the
/// cell's own lock. Only its clone does not, because errors are cloned under the lock, which just counts.
struct CellCaller {
    cell: Weak<NosyCell>,
    alive: Arc<AtomicUsize>,
}

impl CellCaller {
    fn new(cell: &Arc<NosyCell>, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        CellCaller { cell: Arc::downgrade(cell), alive: Arc::clone(alive) }
    }

    fn call(&self) {
        if let Some(cell) = self.cell.upgrade() {
            cell.state();
        }
    }
}

impl Clone for CellCaller {
    fn clone(&self) -> Self {
        self.alive.fetch_add(1, Ordering::Relaxed);
        CellCaller { cell: Weak::clone(&self.cell), alive: Arc::clone(&self.alive) }
    }
}

impl Wake for CellCaller {
    fn wake(self: Arc<Self>) {
        self.call();
    }
}

impl Drop for CellCaller {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
        self.call();
    }
}
