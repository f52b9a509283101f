//! Feature `tracing`: an acquisition that moves to its own task keeps the caller's span.

use std::cell::RefCell;
use std::sync::Arc;

use parking_lot::Mutex;
use reqscope::{Error, Scopes, resource_fn};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Instrument, Metadata, Subscriber};
use tracing_core::span::Current;

thread_local! {
    /// The spans that this thread has entered, the innermost last.
    static ENTERED: RefCell<Vec<(Id, &'static Metadata<'static>)>> = const { RefCell::new(Vec::new()) };
}

/// A subscriber that records which spans each thread has entered.
#[derive(Default)]
struct Spans(Mutex<Vec<&'static Metadata<'static>>>);

impl Subscriber for Spans {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut made = self.0.lock();
        made.push(span.metadata());
        Id::from_u64(made.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, id: &Id) {
        let index = usize::try_from(id.into_u64() - 1).unwrap();
        let metadata = self.0.lock()[index];
        ENTERED.with_borrow_mut(|entered| entered.push((id.clone(), metadata)));
    }

    fn exit(&self, _: &Id) {
        ENTERED.with_borrow_mut(Vec::pop);
    }

    fn current_span(&self) -> Current {
        ENTERED.with_borrow(|entered| match entered.last() {
            Some((id, metadata)) => Current::new(id.clone(), metadata),
            None => Current::none(),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn acquisition_keeps_its_callers_span_at_every_poll() {
    let _subscriber = tracing::subscriber::set_default(Spans::default());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let names = Arc::new(resource_fn({
        let seen = Arc::clone(&seen);
        move || {
            let seen = Arc::clone(&seen);
            async move {
                for _ in 0..3 {
                    seen.lock().push(tracing::Span::current().metadata().map(Metadata::name));
                    tokio::task::yield_now().await;
                }
                Ok::<_, Error<std::convert::Infallible>>(())
            }
        }
    }));
    let scope = Scopes::new().open();
    let lazy = scope.lazy(&names);
    drop(lazy.get().instrument(tracing::info_span!("the request")).await.unwrap());
    assert_eq!(*seen.lock(), [Some("the request"); 3]);
}
