use reqscope::{Error, Exit, Resource};
use reqscope_testkit::{Gate, Probe, ProbeHandle, Scripted};

/// A probe whose release has several steps, each with a gate: a COMMIT that can be interrupted at each of its awaits.
pub(crate) struct Stepwise {
    probe: Probe,
    steps: [Gate; Stepwise::STEPS],
}

impl Stepwise {
    pub(crate) const STEPS: usize = 3;

    /// Creates one whose gates are open.
    pub(crate) fn new(probe: Probe) -> Self {
        Stepwise { probe, steps: std::array::from_fn(|_| Gate::open()) }
    }

    /// Returns the gate of a step.
    pub(crate) fn step(&self, number: usize) -> &Gate {
        &self.steps[number]
    }
}

impl Resource for Stepwise {
    type Handle = ProbeHandle;
    type Cause = Scripted;

    async fn acquire(&self) -> Result<ProbeHandle, Error<Scripted>> {
        self.probe.acquire().await
    }

    async fn release(&self, handle: ProbeHandle, exit: Exit) -> Result<(), Error<Scripted>> {
        // If this future is dropped between two steps, so is the handle, and the probe counts it as abandoned.
        for step in &self.steps {
            step.pass().await?;
        }
        self.probe.release(handle, exit).await
    }

    fn settles(&self, exit: Exit) -> bool {
        self.probe.settles(exit)
    }
}
