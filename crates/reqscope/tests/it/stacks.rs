//! Stacks of resources that must not be built.

use std::sync::Arc;
use std::time::Duration;

use reqscope::wrap::RetryPolicy;
use reqscope::{BoxResource, Error, Exit, Pool, Resource, ResourceExt, Scopes, Shared};
use reqscope_testkit::{Probe, ProbeHandle, Scripted, expect_panic, quiet_panic};

/// A resource whose handles end with their request, around another one.
struct Snapshots<R>(R);

impl<R: Resource<Handle = ProbeHandle, Cause = Scripted>> Resource for Snapshots<R> {
    type Handle = ProbeHandle;
    type Cause = Scripted;

    async fn acquire(&self) -> Result<ProbeHandle, Error<Scripted>> {
        self.0.acquire().await
    }

    fn ends_with_request(&self) -> bool {
        true
    }
}

fn snapshots() -> Snapshots<Probe> {
    Snapshots(Probe::new())
}

/// Checks that a pool and a shared handle are refused, and returns the two messages.
fn refusals<R: Resource<Handle: Sync>>(make: impl Fn() -> R) -> [String; 2] {
    [expect_panic(|| Pool::new(make())), expect_panic(|| Shared::new(make()))]
}

/// The pool reported success without a COMMIT, and passed the uncommitted work to the next request.
#[test]
fn resource_that_settles_cannot_be_pooled_or_shared() {
    for message in refusals(|| Probe::new().settling()) {
        assert!(message.contains("a handle of Probe must end with its request"), "{message}");
        assert!(message.contains("Transaction<Pool<Connections>>"), "{message}");
    }
}

#[test]
fn resource_that_ends_with_its_request_cannot_be_pooled() {
    assert!(!snapshots().settles(Exit::Completed));
    for message in refusals(snapshots) {
        assert!(message.contains("Snapshots<Pool<Probe>>"), "the right stack is shown: {message}");
    }
}

#[test]
fn resource_inside_wrappers_cannot_be_pooled_or_shared() {
    let second = Duration::from_secs(1);
    let right = |messages: [String; 2], stack: &str| {
        assert!(messages.iter().all(|message| message.contains(stack)), "{stack}: {messages:?}");
    };
    right(refusals(|| Arc::new(snapshots())), "Arc<Snapshots<Pool<Probe>>>");
    right(refusals(|| snapshots().timeout(second)), "Timeout<Snapshots<Pool<Probe>>>");
    right(refusals(|| snapshots().retry(RetryPolicy::new())), "Retry<Snapshots<Pool<Probe>>>");
    right(refusals(|| snapshots().tagged::<u8>()), "Transaction<Pool<Connections>>");
    right(refusals(|| snapshots().boxed()), "Transaction<Pool<Connections>>");
    let all = || BoxResource::new(Arc::new(Probe::new().settling().timeout(second)).retry(RetryPolicy::new()));
    right(refusals(all), "Transaction<Pool<Connections>>");
}

#[test]
fn shared_handle_of_a_server_is_refused_too() {
    let scopes = Scopes::new();
    let message = expect_panic(|| Shared::new_in(scopes.reaper(), snapshots()));
    assert!(message.contains("Shared<Snapshots<Probe>> must not be"), "{message}");
}

#[test]
fn ends_with_request_that_panics_counts_as_true() {
    struct Panicking;

    impl Resource for Panicking {
        type Handle = ();
        type Cause = Scripted;

        async fn acquire(&self) -> Result<(), Error<Scripted>> {
            Ok(())
        }

        fn ends_with_request(&self) -> bool {
            quiet_panic("scripted panic")
        }
    }

    for message in refusals(|| Panicking) {
        assert!(message.contains("must end with its request"), "{message}");
    }
}
