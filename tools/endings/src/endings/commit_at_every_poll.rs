use reqscope::Exit;

use crate::body::{Answer, answer};
use crate::client::Ask;
use crate::event::{Event, let_through, until};
use crate::scene::Call;
use crate::stepwise::Stepwise;
use crate::world::World;
use crate::{Ending, Must, Resources, Seen};

pub(super) const ENDING: Ending = Ending {
    name: "commit-at-every-poll",
    sentence: "the client hangs up at each await of a COMMIT in turn; it runs to its end",
    resources: Resources::Settling,
    handler: |call| Box::pin(handler(call)),
    client: |world| Box::pin(client(world)),
    must: Must {
        told: &[Exit::Completed; Stepwise::STEPS],
        sees: Seen::Left,
        events: &[Event::Returned, LEFT, Event::BodyUnasked],
        ..Must::DONE
    },
    ..Ending::PLAIN
};

const LEFT: Event = Event::Saw("the request was gone before its COMMIT had ended");

async fn handler(call: Call) -> Answer {
    call.scope.lazy(&call.scene.stepwise).get().await?.operate().await?;
    answer(200, "committed")
}

async fn client(world: &World) -> anyhow::Result<Seen> {
    let scene = &world.scene;
    for cut in 0..Stepwise::STEPS {
        (0..Stepwise::STEPS).for_each(|number| _ = scene.stepwise.step(number).close());
        let client = world.send(Ask::GET).await?;
        for number in 0..Stepwise::STEPS {
            let step = scene.stepwise.step(number);
            until("the COMMIT has come to its step", || step.waiting() == 1).await?;
            if number == cut {
                break;
            }
            let_through(step)?;
        }
        client.fin()?;
        until("the scope is closed", || scene.scopes.stats().open_scopes == 0).await?;
        scene.log.hears(Event::BodyUnasked, cut + 1).await?;
        scene.log.add(LEFT);
        for number in cut..Stepwise::STEPS {
            let step = scene.stepwise.step(number);
            until("the COMMIT has come to its step", || step.waiting() == 1).await?;
            let_through(step)?;
        }
        world.is_at_rest().await?;
    }
    Ok(Seen::Left)
}
