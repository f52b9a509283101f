//! Panics in the handler, in the body, and between.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use reqscope::Exit;
use reqscope_testkit::{Verb, quiet_panic};

use crate::body::{Answer, answer, answer_with};
use crate::event::Event;
use crate::handler::{owns, rows, streams};
use crate::layers::Layers;
use crate::scene::Call;
use crate::{BoxError, Ending, Must, Resources, Seen, Setup};

pub(super) const ENDINGS: &[Ending] = &[
    Ending {
        name: "panic-in-the-handler",
        sentence: "the handler panics, and nobody catches it",
        must: Must { sees: Seen::Nothing, ..PANICKED },
        ..IN_THE_HANDLER
    },
    Ending {
        name: "panic-caught-outside",
        sentence: "the handler panics, and a layer around the scope answers 500",
        setup: Setup { layers: Layers::PanicsCaughtOutside, ..Setup::DEFAULT },
        must: PANICKED,
        ..IN_THE_HANDLER
    },
    Ending {
        name: "panic-caught-inside",
        sentence: "the handler panics, and a layer inside of the scope answers 500: for the scope a failure",
        setup: Setup { layers: Layers::PanicsCaughtInside, ..Setup::DEFAULT },
        must: Must { told: &[Exit::Failed], ..PANICKED },
        ..IN_THE_HANDLER
    },
    Ending {
        name: "panic-in-the-body",
        sentence: "the body panics; its handle was back before",
        handler: |call| Box::pin(panics_in_the_body(call)),
        ..IN_THE_BODY
    },
    Ending {
        name: "panic-in-the-body-caught",
        sentence: "the same under a layer that catches panics: it is not there for bodies",
        setup: Setup { layers: Layers::PanicsCaughtOutside, ..Setup::DEFAULT },
        handler: |call| Box::pin(panics_in_the_body(call)),
        ..IN_THE_BODY
    },
    Ending {
        name: "lease-body-panics",
        sentence: "a body that owns its handle panics",
        handler: |call| {
            Box::pin(async move {
                call.scene.probe.on(Verb::Operate).ok().panic();
                streams(call, 2).await
            })
        },
        must: Must { told: &[Exit::Panicked], ..IN_THE_BODY.must },
        ..IN_THE_BODY
    },
    Ending {
        name: "lease-body-panics-beside",
        sentence: "a body panics beside which a handle is kept",
        handler: |call| {
            Box::pin(async move {
                let body = rows(call.scene.clone(), || quiet_panic("in the body"));
                owns(call, 200, body).await
            })
        },
        must: Must { told: &[Exit::Panicked], ..IN_THE_BODY.must },
        ..IN_THE_BODY
    },
    Ending {
        name: "panic-swallowed",
        sentence: "a panic in the middle of the work is caught in the handler, which answers 200: no COMMIT of half the work",
        resources: Resources::Settling,
        handler: |call| Box::pin(swallows_a_panic(call)),
        must: Must {
            told: &[Exit::Failed],
            sees: Seen::Whole(500),
            events: &[Event::Returned, CAUGHT],
            ..Must::DONE
        },
        ..Ending::PLAIN
    },
];

const IN_THE_HANDLER: Ending = Ending { handler: |call| Box::pin(panics(call)), ..Ending::PLAIN };
const PANICKED: Must =
    Must { told: &[Exit::Panicked], sees: Seen::Whole(500), events: &[Event::Unwound], ..Must::DONE };
const IN_THE_BODY: Ending = Ending {
    client: |world| Box::pin(world.asks_for_rows()),
    must: Must { sees: Seen::Cut(200), events: &[Event::Returned, Event::BodyUnwound], ..Must::DONE },
    ..Ending::PLAIN
};
const CAUGHT: Event = Event::Saw("the handler caught the panic");

async fn panics(call: Call) -> Answer {
    let _handle = call.lazy.get().await?;
    quiet_panic("in the handler")
}

async fn panics_in_the_body(call: Call) -> Answer {
    call.lazy.get().await?.operate().await?;
    answer_with(200, rows(call.scene, || quiet_panic("in the body")))
}

async fn swallows_a_panic(call: Call) -> Answer {
    let log = call.scene.log.clone();
    if AssertUnwindSafe(half_of_the_work(call)).catch_unwind().await.is_err() {
        log.add(CAUGHT);
    }
    answer(200, "done, it thinks")
}

async fn half_of_the_work(call: Call) -> Result<(), BoxError> {
    let mut handle = call.lazy.get().await?;
    handle.operate().await?;
    quiet_panic("in the middle of the work")
}
