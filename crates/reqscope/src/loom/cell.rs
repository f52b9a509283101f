//! The machine under the lazy cell by itself: what it does with the words of an attempt, and that it drops, wakes and
//! clones nothing of others under its lock (L19).

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
        _ => panic!("nobody else has begun"),
    }
}

#[test]
fn cancel_reaches_the_close_or_is_returned() {
    model(["found by the seal", "handed back"], |endings| {
        let cell = Arc::new(Cell::<(), (), (), ()>::new());
        let attempt = begin(&cell);
        let teller = Arc::clone(&cell);
        let teller = thread::spawn(move || teller.set_cancel(attempt, ()).is_some());
        let found = matches!(cell.seal(), Found::Over(Phase::Acquiring(Some(()))));
        endings.note(match (found, teller.join().unwrap()) {
            (true, false) => "found by the seal",
            (false, true) => "handed back",
            _ => "lost, or doubled",
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
    let endings: [fn(&Arc<Asked>, u32, Nosy); 4] = [
        |cell, attempt, error| assert!(cell.fail(attempt, &error)),
        |cell, attempt, lent| assert!(cell.deliver(attempt, Nosy::clone(&lent), lent).is_ok()),
        |cell, attempt, lent| {
            drop(cell.lend_out(attempt, Nosy::clone(&lent), here()));
            drop(cell.give_back(lent));
        },
        |cell, _, _| drop(cell.seal()),
    ];
    for ending in endings {
        model([], move |_| {
            let (cell, alive) = (Arc::new(Asked::new()), Arc::new(AtomicUsize::new(0)));
            let attempt = begin(&cell);
            // Who has come before makes the other one yield, and leave with a waker that nobody has woken.
            let mut before = WaiterId::default();
            assert!(matches!(cell.take(&mut before, here(), Waker::noop(), || ()), Take::Wait(None)));
            let (theirs, counted) = (Arc::clone(&cell), Arc::clone(&alive));
            let waiter = thread::spawn(move || {
                let mut waiter = WaiterId::default();
                for _ in 0..2 {
                    // Another one at each poll, which puts the earlier one out.
                    let waker = Waker::from(Arc::new(Nosy::new(&theirs, &counted)));
                    match theirs.take(&mut waiter, here(), &waker, || ()) {
                        Take::Begin(attempt, ()) => theirs.retract(attempt),
                        Take::Lent(lent) => drop(theirs.give_back(lent)),
                        _ => {}
                    }
                }
                theirs.leave(&mut waiter);
            });
            drop(cell.set_cancel(attempt, Nosy::new(&cell, &alive)));
            ending(&cell, attempt, Nosy::new(&cell, &alive));
            waiter.join().unwrap();
            cell.leave(&mut before);
            drop(cell.seal());
            assert_eq!(alive.load(Ordering::Relaxed), 0);
        });
    }
}

type Asked = Cell<Nosy, Nosy, Nosy, Nosy>;

/// A handle, an error, a way to cancel, a waker: whatever is done with it, it looks into the cell, which under the
/// cell's own lock is a deadlock. Its clone alone does not: errors are cloned there, which is a count.
struct Nosy {
    cell: Weak<Asked>,
    alive: Arc<AtomicUsize>,
}

impl Nosy {
    fn new(cell: &Arc<Asked>, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Nosy { cell: Arc::downgrade(cell), alive: Arc::clone(alive) }
    }

    fn ask(&self) {
        if let Some(cell) = self.cell.upgrade() {
            cell.state();
        }
    }
}

impl Clone for Nosy {
    fn clone(&self) -> Self {
        self.alive.fetch_add(1, Ordering::Relaxed);
        Nosy { cell: Weak::clone(&self.cell), alive: Arc::clone(&self.alive) }
    }
}

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {
        self.ask();
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
        self.ask();
    }
}
