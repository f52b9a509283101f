//! What a script has seen, and what must be true of it.

use std::sync::Arc;

use parking_lot::Mutex;
use reqscope::Exit;

/// Something that happened at the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// An acquisition was polled for the first time.
    Begun,
    /// It was dropped, or panicked, before it had an object.
    Cut,
    /// It has one, of this number.
    Made(u64),
    /// Somebody gave the object back and said how the request had ended.
    Told(u64, Exit),
    /// The object is gone: the last clone of it was dropped.
    Gone(u64),
}

/// All that happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Books(Arc<Mutex<Vec<Event>>>);

impl Books {
    pub(crate) fn write(&self, event: Event) {
        self.0.lock().push(event);
    }

    pub(crate) fn begin(&self) -> Attempt {
        self.write(Event::Begun);
        Attempt { books: self.clone(), made: false }
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen(self.0.lock().clone())
    }
}

/// An acquisition that runs.
pub(crate) struct Attempt {
    books: Books,
    made: bool,
}

impl Attempt {
    pub(crate) fn made(mut self) -> Arc<Held> {
        self.made = true;
        let mut events = self.books.0.lock();
        let number = events.iter().filter(|event| matches!(event, Event::Made(_))).count() as u64;
        events.push(Event::Made(number));
        drop(events);
        Arc::new(Held { number, books: self.books.clone() })
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.made {
            self.books.write(Event::Cut);
        }
    }
}

/// What was acquired. Dropping it is all that it takes to give it back.
pub(crate) struct Held {
    pub(crate) number: u64,
    books: Books,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.books.write(Event::Gone(self.number));
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

    /// How many acquisitions run.
    pub(crate) fn running(&self) -> usize {
        self.begun() - self.made() - self.count(|event| *event == Event::Cut)
    }

    /// How many objects are there.
    pub(crate) fn out(&self) -> usize {
        self.made() - self.gone()
    }

    /// How many there were at most that ran, or had brought an object that was there.
    pub(crate) fn peak(&self) -> usize {
        let counts = self.0.iter().scan(0_usize, |alive, event| {
            match event {
                Event::Begun => *alive += 1,
                Event::Cut | Event::Gone(_) => *alive -= 1,
                Event::Made(_) | Event::Told(..) => (),
            }
            Some(*alive)
        });
        counts.max().unwrap_or(0)
    }

    /// What was said of the ends of the requests.
    pub(crate) fn told(&self) -> Vec<Exit> {
        let told = self.0.iter().filter_map(|event| match event {
            Event::Told(_, exit) => Some(*exit),
            _ => None,
        });
        told.collect()
    }

    /// Nothing runs, and each object was given back once: it is gone, and if somebody was told, then once and before.
    pub(crate) fn all_back(&self) -> Result<(), String> {
        if self.running() > 0 {
            return Err(format!("{} acquisitions still ran", self.running()));
        }
        for number in 0..self.made() as u64 {
            let told: Vec<_> = self.places(|event| matches!(event, Event::Told(of, _) if *of == number));
            let gone: Vec<_> = self.places(|event| *event == Event::Gone(number));
            match (told[..].len(), &gone[..]) {
                (0, [_]) => (),
                (1, [gone]) if told[0] < *gone => (),
                (_, []) => return Err(format!("object {number} was never given back")),
                (1, _) => return Err(format!("object {number} was given back after it was gone")),
                (times, _) => return Err(format!("object {number} was given back {times} times")),
            }
        }
        Ok(())
    }

    fn places(&self, of: impl Fn(&Event) -> bool) -> Vec<usize> {
        self.0.iter().enumerate().filter(|(_, event)| of(event)).map(|(place, _)| place).collect()
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
    fn an_object_is_given_back_once() {
        assert_eq!(all_back(&[Begun, Made(0), Gone(0)]), Ok(()));
        assert_eq!(all_back(&[Begun, Made(0), Told(0, Exit::Failed), Gone(0), Begun, Cut]), Ok(()));
        for wrong in [
            &[Begun][..],
            &[Begun, Made(0)],
            &[Begun, Made(0), Told(0, Exit::Failed)],
            &[Begun, Made(0), Gone(0), Told(0, Exit::Failed)],
            &[Begun, Made(0), Told(0, Exit::Failed), Told(0, Exit::Failed), Gone(0)],
            &[Begun, Made(0), Gone(0), Begun, Made(1)],
        ] {
            assert!(all_back(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_an_acquisition_has_brought_counts_until_it_is_gone() {
        assert_eq!(Seen(vec![Begun, Cut, Begun, Made(0), Gone(0)]).peak(), 1);
        assert_eq!(Seen(vec![Begun, Begun, Cut, Made(0)]).peak(), 2);
        assert_eq!(Seen(vec![Begun, Made(0), Begun, Gone(0)]).peak(), 2);
    }
}
