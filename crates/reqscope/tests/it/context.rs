//! What a request says about itself reaches every acquisition that it makes, and the observer.

use std::pin::pin;
use std::sync::Arc;

use reqscope::Exit;
use reqscope::context::Label;
use reqscope_testkit::{Verb, poll_once};

use crate::support::{Event, Server, get_now};

#[tokio::test(start_paused = true)]
async fn events_carry_label_and_tenant() {
    let server = Server::new();
    server.probe.on(Verb::Acquire).error().slow(3);
    let scope = server.scopes.open();
    scope.set_label("GET /orders/{id}");
    scope.set_tenant("acme");
    let lazy = scope.lazy(&server.probe);
    lazy.get().await.unwrap_err();
    // In a task of its own.
    drop(lazy.get().await.unwrap());
    scope.close(Exit::Completed).await.unwrap();
    server.finish().await;
    for event in [Event::AcquireFailed, Event::Acquired, Event::Released(Exit::Completed)] {
        let of = server.events.subject(event);
        assert_eq!((of.label(), of.tenant().unwrap().as_str()), (Some("GET /orders/{id}"), "acme"), "{event:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn late_lent_and_abandoned_handles_carry_the_label() {
    let server = Server::new();
    server.probe.on(Verb::Release).never();
    let scope = server.scopes.open();
    scope.set_label("GET /");
    let lazy = scope.lazy(&server.probe);
    let guard = get_now(&lazy);
    lazy.get().await.unwrap_err();
    drop(scope);
    drop(guard);
    server.finish().await;
    let cut = Event::Abandoned(Exit::Cancelled, reqscope::observer::Abandoned::Deadline);
    for event in [Event::LentTooLong, Event::StillLent, cut] {
        assert_eq!(server.events.subject(event).label(), Some("GET /"), "{event:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn scope_without_details_has_none() {
    let server = Server::new();
    let scope = server.scopes.open();
    drop(get_now(&scope.lazy(&server.probe)));
    let of = server.events.subject(Event::Acquired);
    assert_eq!((of.label(), of.tenant()), (None, None));
    let handle = scope.handle();
    assert_eq!((handle.label(), handle.tenant(), handle.deadline()), (None, None, None));
}

/// The memory of a scope is used again for the next one on the same thread.
#[test]
fn next_scope_does_not_inherit_the_details() {
    let server = Server::new();
    for _ in 0..3 {
        let scope = server.scopes.open();
        assert_eq!((scope.handle().label(), scope.handle().tenant()), (None, None));
        scope.set_label("GET /");
        scope.set_tenant("acme");
        assert_eq!(scope.handle().label(), Some(Label::new("GET /")));
        assert!(poll_once(pin!(scope.close(Exit::Completed))).is_ready());
    }
}

/// The name of a GraphQL operation is known only after authentication has used the database.
#[tokio::test(start_paused = true)]
async fn label_applies_to_later_acquisitions() {
    let server = Server::new();
    let scope = server.scopes.open();
    scope.set_label("POST /graphql");
    drop(get_now(&scope.lazy(&server.probe)));
    scope.handle().set_label("mutation placeOrder");
    let second = Arc::new(server.probe.sibling());
    second.on(Verb::Acquire).error();
    scope.lazy(&second).get().await.unwrap_err();
    assert_eq!(server.events.subject(Event::Acquired).label(), Some("POST /graphql"));
    assert_eq!(server.events.subject(Event::AcquireFailed).label(), Some("mutation placeOrder"));
}
