//! Panics in the handler and in the body.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use reqscope::Exit;
use reqscope_testkit::{Verb, quiet_panic};

use crate::body::{HandlerResult, response, response_with};
use crate::event::Event;
use crate::fixture::Call;
use crate::handler::{gated_rows, lease_body, stream_lease};
use crate::layers::Layers;
use crate::{BoxError, Ending, Expected, Resources, Seen, Setup};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "panic-in-the-handler",
        sentence: "the handler panics, and no layer catches it",
        expected: Expected { seen: Seen::Nothing, ..PANICKED },
        ..IN_THE_HANDLER
    },
    Ending {
        name: "panic-caught-outside",
        sentence: "the handler panics, and a layer around the scope responds with 500",
        setup: Setup { layers: Layers::PanicsCaughtOutside, ..Setup::DEFAULT },
        expected: PANICKED,
        ..IN_THE_HANDLER
    },
    Ending {
        name: "panic-caught-inside",
        sentence: "the handler panics, and a layer inside the scope responds with 500: a failure for the scope",
        setup: Setup { layers: Layers::PanicsCaughtInside, ..Setup::DEFAULT },
        expected: Expected { exits: &[Exit::Failed], ..PANICKED },
        ..IN_THE_HANDLER
    },
    Ending {
        name: "panic-in-the-body",
        sentence: "the body panics; the handle was released before",
        handler: |call| Box::pin(panic_in_body(call)),
        ..IN_THE_BODY
    },
    Ending {
        name: "panic-in-the-body-caught",
        sentence: "the body panics under a layer that catches panics, which does not cover bodies",
        setup: Setup { layers: Layers::PanicsCaughtOutside, ..Setup::DEFAULT },
        handler: |call| Box::pin(panic_in_body(call)),
        ..IN_THE_BODY
    },
    Ending {
        name: "lease-body-panics",
        sentence: "a body that owns its handle panics",
        handler: |call| {
            Box::pin(async move {
                call.fixture.probe.on(Verb::Operate).ok().panic();
                stream_lease(call, 2).await
            })
        },
        expected: Expected { exits: &[Exit::Panicked], ..IN_THE_BODY.expected },
        ..IN_THE_BODY
    },
    Ending {
        name: "lease-body-panics-beside",
        sentence: "a body that keeps a handle alongside panics",
        handler: |call| {
            Box::pin(async move {
                let body = gated_rows(call.fixture.clone(), || quiet_panic("in the body"));
                lease_body(call, 200, body).await
            })
        },
        expected: Expected { exits: &[Exit::Panicked], ..IN_THE_BODY.expected },
        ..IN_THE_BODY
    },
    Ending {
        name: "panic-swallowed",
        sentence: "the handler catches a panic halfway, and returns a 200: half the work is not committed",
        resources: Resources::Settling,
        handler: |call| Box::pin(swallow_panic(call)),
        expected: Expected {
            exits: &[Exit::Failed],
            seen: Seen::Complete(500),
            events: &[Event::Returned, CAUGHT],
            ..Expected::COMPLETED
        },
        ..Ending::PLAIN
    },
];

const IN_THE_HANDLER: Ending = Ending { handler: |call| Box::pin(panic_in_handler(call)), ..Ending::PLAIN };
const PANICKED: Expected = Expected {
    exits: &[Exit::Panicked],
    seen: Seen::Complete(500),
    events: &[Event::Panicked],
    ..Expected::COMPLETED
};
const IN_THE_BODY: Ending = Ending {
    client: |server| Box::pin(server.fetch_rows()),
    expected: Expected {
        seen: Seen::Cut(200),
        events: &[Event::Returned, Event::BodyPanicked],
        ..Expected::COMPLETED
    },
    ..Ending::PLAIN
};
const CAUGHT: Event = Event::Custom("the handler caught the panic");

async fn panic_in_handler(call: Call) -> HandlerResult {
    let _handle = call.lazy.get().await?;
    quiet_panic("in the handler")
}

async fn panic_in_body(call: Call) -> HandlerResult {
    call.lazy.get().await?.operate().await?;
    response_with(200, gated_rows(call.fixture, || quiet_panic("in the body")))
}

async fn swallow_panic(call: Call) -> HandlerResult {
    let log = call.fixture.log.clone();
    if AssertUnwindSafe(half_of_the_work(call)).catch_unwind().await.is_err() {
        log.add(CAUGHT);
    }
    response(200, "done")
}

async fn half_of_the_work(call: Call) -> Result<(), BoxError> {
    let mut handle = call.lazy.get().await?;
    handle.operate().await?;
    quiet_panic("in the middle of the work")
}
