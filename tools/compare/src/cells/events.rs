//! The events that a script sees, and what must be true of them.

use std::sync::Arc;

use parking_lot::Mutex;
use reqscope::Exit;

/// An event at the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// An acquisition was polled for the first time.
    Begun,
    /// An acquisition was dropped, or panicked, before it had a handle.
    Cut,
    /// An acquisition made the handle of this number.
    Made(u64),
    /// The handle was released, with this exit.
    Released(u64, Exit),
    /// The last clone of the handle was dropped.
    Gone(u64),
}

/// All events, in order.
#[derive(Clone, Default)]
pub(crate) struct EventLog(Arc<Mutex<Vec<Event>>>);

impl EventLog {
    pub(crate) fn write(&self, event: Event) {
        self.0.lock().push(event);
    }

    /// Logs that an acquisition begins.
    pub(crate) fn begin(&self) -> Attempt {
        self.write(Event::Begun);
        Attempt { log: self.clone(), made: false }
    }

    /// Returns the events so far.
    pub(crate) fn seen(&self) -> Seen {
        Seen(self.0.lock().clone())
    }
}

/// An acquisition in progress.
pub(crate) struct Attempt {
    log: EventLog,
    made: bool,
}

impl Attempt {
    /// Ends the acquisition with a new handle.
    pub(crate) fn made(mut self) -> Arc<TrackedHandle> {
        self.made = true;
        let mut events = self.log.0.lock();
        let number = events.iter().filter(|event| matches!(event, Event::Made(_))).count() as u64;
        events.push(Event::Made(number));
        drop(events);
        Arc::new(TrackedHandle { number, log: self.log.clone() })
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.made {
            self.log.write(Event::Cut);
        }
    }
}

/// A handle that logs its drop.
pub(crate) struct TrackedHandle {
    pub(crate) number: u64,
    log: EventLog,
}

impl Drop for TrackedHandle {
    fn drop(&mut self) {
        self.log.write(Event::Gone(self.number));
    }
}

/// The events so far.
#[derive(Debug)]
pub(crate) struct Seen(Vec<Event>);

impl Seen {
    fn count(&self, of: impl Fn(&Event) -> bool) -> usize {
        self.0.iter().filter(|event| of(event)).count()
    }

    pub(crate) fn begun(&self) -> usize {
        self.count(|event| *event == Event::Begun)
    }

    pub(crate) fn made(&self) -> usize {
        self.count(|event| matches!(event, Event::Made(_)))
    }

    fn gone(&self) -> usize {
        self.count(|event| matches!(event, Event::Gone(_)))
    }

    /// Returns how many acquisitions are in progress.
    pub(crate) fn running(&self) -> usize {
        self.begun() - self.made() - self.count(|event| *event == Event::Cut)
    }

    /// Returns how many handles exist.
    pub(crate) fn out(&self) -> usize {
        self.made() - self.gone()
    }

    /// Returns the most acquisitions that were in progress, or whose handle existed, at the same time.
    pub(crate) fn peak(&self) -> usize {
        let counts = self.0.iter().scan(0_usize, |alive, event| {
            match event {
                Event::Begun => *alive += 1,
                Event::Cut | Event::Gone(_) => *alive -= 1,
                Event::Made(_) | Event::Released(..) => (),
            }
            Some(*alive)
        });
        counts.max().unwrap_or(0)
    }

    /// Returns the exits that were passed to releases.
    pub(crate) fn exits(&self) -> Vec<Exit> {
        let exits = self.0.iter().filter_map(|event| match event {
            Event::Released(_, exit) => Some(*exit),
            _ => None,
        });
        exits.collect()
    }

    /// Fails unless no acquisition is in progress and each handle was dropped once, after at most one release.
    pub(crate) fn all_back(&self) -> Result<(), String> {
        if self.running() > 0 {
            return Err(format!("{} acquisitions still ran", self.running()));
        }
        for number in 0..self.made() as u64 {
            let released: Vec<_> = self.positions(|event| matches!(event, Event::Released(of, _) if *of == number));
            let gone: Vec<_> = self.positions(|event| *event == Event::Gone(number));
            match (released.len(), &gone[..]) {
                (0, [_]) => (),
                (1, [gone]) if released[0] < *gone => (),
                (_, []) => return Err(format!("handle {number} was never released")),
                (1, _) => return Err(format!("handle {number} was released after it was dropped")),
                (times, _) => return Err(format!("handle {number} was released {times} times")),
            }
        }
        Ok(())
    }

    fn positions(&self, of: impl Fn(&Event) -> bool) -> Vec<usize> {
        self.0.iter().enumerate().filter(|(_, event)| of(event)).map(|(position, _)| position).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Event::*;
    use super::*;

    fn all_back(events: &[Event]) -> Result<(), String> {
        Seen(events.to_vec()).all_back()
    }

    #[test]
    fn handle_is_released_once() {
        assert_eq!(all_back(&[Begun, Made(0), Gone(0)]), Ok(()));
        assert_eq!(all_back(&[Begun, Made(0), Released(0, Exit::Failed), Gone(0), Begun, Cut]), Ok(()));
        for wrong in [
            &[Begun][..],
            &[Begun, Made(0)],
            &[Begun, Made(0), Released(0, Exit::Failed)],
            &[Begun, Made(0), Gone(0), Released(0, Exit::Failed)],
            &[Begun, Made(0), Released(0, Exit::Failed), Released(0, Exit::Failed), Gone(0)],
            &[Begun, Made(0), Gone(0), Begun, Made(1)],
        ] {
            assert!(all_back(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn peak_counts_handles_until_they_are_dropped() {
        assert_eq!(Seen(vec![Begun, Cut, Begun, Made(0), Gone(0)]).peak(), 1);
        assert_eq!(Seen(vec![Begun, Begun, Cut, Made(0)]).peak(), 2);
        assert_eq!(Seen(vec![Begun, Made(0), Begun, Gone(0)]).peak(), 2);
    }
}
