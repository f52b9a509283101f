//! The state machine of the lazy cell alone: late results and cancels of an attempt, and that it drops, wakes and
//! clones no user values under its lock (L19).

use std::future::poll_fn;
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Poll, Wake, Waker};

use loom::future::block_on;
use loom::thread;

use super::{model, model_within};
use crate::cell::waiters::WaiterId;
use crate::cell::{Cell, End, Found, Phase, Returned, Site, Take, WaitFor};
use crate::exit::Exit;
use crate::scope::LazyState;

fn here() -> Site {
    Location::caller()
}

fn begin<L, S, E: Clone, K>(cell: &Cell<L, S, E, K>) -> u32 {
    let attempt = match cell.take(&mut WaiterId::default(), here(), Waker::noop()) {
        Take::Begin(attempt) => attempt,
        _ => panic!("another attempt is in progress"),
    };
    assert!(cell.wait(attempt));
    attempt
}

#[test]
fn cancel_reaches_the_close_or_is_returned() {
    model(["found by the seal", "returned"], |endings| {
        let cell = Arc::new(Cell::<(), (), (), ()>::new());
        let attempt = begin(&cell);
        let setter = Arc::clone(&cell);
        let setter = thread::spawn(move || setter.set_cancel(attempt, ()).is_some());
        let found = matches!(cell.seal(|| ()), Found::Over(Phase::Acquiring(Some(()))));
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
        assert!(cell.give_up(earlier).is_ok());
        let late = Arc::clone(&cell);
        let late = thread::spawn(move || late.fail(earlier, &()));
        let attempt = begin(&cell);
        assert!(cell.deliver(attempt, (), ()).is_ok());
        late.join().unwrap();
        assert_eq!(cell.state(), LazyState::Ready);
    });
}

#[test]
fn handle_of_an_attempt_that_is_given_up_is_refused() {
    model(["in time", "late"], |endings| {
        let cell = Arc::new(Cell::<(), (), (), ()>::new());
        let attempt = begin(&cell);
        let task = Arc::clone(&cell);
        let task = thread::spawn(move || task.deliver(attempt, (), ()).is_err());
        let given_up = cell.give_up(attempt).is_ok();
        endings.note(match (given_up, task.join().unwrap(), cell.state()) {
            (false, false, LazyState::Ready) => "in time",
            (true, true, LazyState::Unused) => "late",
            _ => "the handle is lost or delivered twice",
        });
    });
}

#[test]
fn attempt_that_is_given_up_can_be_cancelled() {
    model(["found", "returned"], |endings| {
        let cell = Arc::new(Cell::<(), (), (), ()>::new());
        let attempt = begin(&cell);
        let setter = Arc::clone(&cell);
        let setter = thread::spawn(move || setter.set_cancel(attempt, ()).is_some());
        let found = matches!(cell.give_up(attempt), Ok(Some(())));
        endings.note(match (found, setter.join().unwrap()) {
            (true, false) => "found",
            (false, true) => "returned",
            _ => "lost or duplicated",
        });
    });
}

/// Waits for the value. An impatient caller ends the turns of others at once, as if 10 ms had passed.
async fn value(cell: &Cell<usize, (), (), ()>, impatient: bool) -> usize {
    let mut waiter = WaiterId::default();
    poll_fn(|cx| {
        loop {
            match cell.take(&mut waiter, here(), cx.waker()) {
                Take::Lent(value) => return Poll::Ready(value),
                Take::Wait(WaitFor::Turn(turn)) if impatient => cell.overtake(turn),
                Take::Wait(_) | Take::Yield => return Poll::Pending,
                _ => panic!("the value is in the cell or lent"),
            }
        }
    })
    .await
}

/// Returns a cell whose value, 0, is lent to the caller.
fn lent() -> Arc<Cell<usize, (), (), ()>> {
    let cell = Arc::new(Cell::new());
    let attempt = begin(&cell);
    assert!(cell.lend_out(attempt, (), here()).is_ok());
    cell
}

#[test]
fn waiter_that_is_overtaken_gets_a_turn_later() {
    model(["first", "overtaken"], |endings| {
        let cell = lent();
        let [patient, impatient] = [false, true].map(|impatient| {
            let cell = Arc::clone(&cell);
            thread::spawn(move || {
                let value = block_on(value(&cell, impatient));
                assert!(cell.give_back(value + 1).is_ok());
                value
            })
        });
        assert!(cell.give_back(0).is_ok());
        endings.note(match (patient.join().unwrap(), impatient.join().unwrap()) {
            (0, 1) => "first",
            (1, 0) => "overtaken",
            _ => "lent twice",
        });
    });
}

#[test]
fn waiter_that_sleeps_keeps_the_value_from_no_other() {
    model([], |_| {
        let cell = lent();
        // Registered before the others, and never polled again.
        let mut asleep = WaiterId::default();
        assert!(matches!(cell.take(&mut asleep, here(), Waker::noop()), Take::Wait(WaitFor::Loan(_))));
        let theirs = Arc::clone(&cell);
        let other = thread::spawn(move || assert!(theirs.give_back(block_on(value(&theirs, true))).is_ok()));
        assert!(cell.give_back(0).is_ok());
        other.join().unwrap();
        cell.leave(&mut asleep);
    });
}

#[test]
fn waiters_that_leave_pass_the_turn_on() {
    model_within(2, [], |_| {
        let cell = lent();
        let mut first = WaiterId::default();
        assert!(matches!(cell.take(&mut first, here(), Waker::noop()), Take::Wait(WaitFor::Loan(_))));
        let (theirs, other) = (Arc::clone(&cell), Arc::clone(&cell));
        let leaver = thread::spawn(move || theirs.leave(&mut first));
        let other = thread::spawn(move || assert!(other.give_back(block_on(value(&other, false))).is_ok()));
        assert!(cell.give_back(0).is_ok());
        leaver.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn cell_can_be_called_by_all_code_that_it_calls() {
    let endings: [fn(&Arc<NosyCell>, u32, CellCaller); 6] = [
        |cell, attempt, error| assert!(cell.fail(attempt, &error)),
        |cell, attempt, error| assert!(cell.lose(attempt, &error)),
        |cell, attempt, _| assert!(cell.give_up(attempt).is_ok()),
        |cell, attempt, lent| assert!(cell.deliver(attempt, CellCaller::clone(&lent), lent).is_ok()),
        |cell, attempt, lent| {
            drop(cell.lend_out(attempt, CellCaller::clone(&lent), here()));
            drop(cell.give_back(lent));
        },
        |cell, _, _| drop(cell.seal(|| ())),
    ];
    for ending in endings {
        model([], move |_| {
            let (cell, alive) = (Arc::new(NosyCell::new()), Arc::new(AtomicUsize::new(0)));
            let attempt = begin(&cell);
            // An earlier waiter makes the other one yield, and leave with a waker that was not woken.
            let mut before = WaiterId::default();
            assert!(matches!(cell.take(&mut before, here(), Waker::noop()), Take::Wait(WaitFor::Attempt(_))));
            let (theirs, counted) = (Arc::clone(&cell), Arc::clone(&alive));
            let waiter = thread::spawn(move || {
                let mut waiter = WaiterId::default();
                for _ in 0..2 {
                    // Another waker at each poll, which replaces the earlier one.
                    let waker = Waker::from(Arc::new(CellCaller::new(&theirs, &counted)));
                    match theirs.take(&mut waiter, here(), &waker) {
                        Take::Begin(attempt) => drop(theirs.give_up(attempt)),
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
            drop(cell.seal(|| ()));
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

/// The fault: the caller had marked the value before it was in the list, and an end between the two found no caller to
/// pass its failure to.
#[test]
fn caller_that_marks_a_loan_gets_the_result_of_its_end() {
    model(["ended by the mark", "ended by the caller"], |endings| {
        let cell = lent();
        let theirs = Arc::clone(&cell);
        let user = thread::spawn(move || match theirs.give_back(0) {
            Err(Returned::Ends(ending)) => {
                theirs.ended(ending.number, Err(&()));
                true
            }
            _ => false,
        });
        let (mut waiter, mut marked) = (WaiterId::default(), false);
        let failed = block_on(poll_fn(|cx| match cell.end(&mut waiter, cx.waker(), Exit::Completed, &mut marked) {
            End::Wait(_) => Poll::Pending,
            End::Failed(()) | End::Begin(_) => Poll::Ready(true),
            _ => Poll::Ready(false),
        }));
        assert!(failed, "the failure is lost");
        endings.note(if user.join().unwrap() { "ended by the mark" } else { "ended by the caller" });
    });
}
