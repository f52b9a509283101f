//! The server on one processor and this program on another.
//!
//! Whether both share one, and so take turns on it, is the system's choice at every wake-up, and makes a query take 18 us or
//! 58 us: more than all that is to be told apart here.

use std::io;

use reqscope_testkit::MariaDb;

/// Sees to it, for all threads that there are, and those that these will start.
#[cfg(target_os = "linux")]
pub(super) fn set_apart(server: &MariaDb) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_getaffinity};

    let ours = sched_getaffinity(None)?;
    let mut allowed = (0..CpuSet::MAX_CPU).filter(|cpu| ours.is_set(*cpu));
    if let (Some(first), Some(second), Some(server)) = (allowed.next(), allowed.next(), server.pid()) {
        bind(std::process::id(), first)?;
        bind(server, second)?;
    }
    Ok(())
}

/// All threads of a process.
#[cfg(target_os = "linux")]
fn bind(process: u32, cpu: usize) -> io::Result<()> {
    use rustix::thread::{CpuSet, Pid, sched_setaffinity};

    let mut only = CpuSet::new();
    only.set(cpu);
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        if let Some(id) = thread?.file_name().to_str().and_then(|id| id.parse().ok()).and_then(Pid::from_raw) {
            sched_setaffinity(Some(id), &only)?;
        }
    }
    Ok(())
}

/// Elsewhere nobody is told how.
#[cfg(not(target_os = "linux"))]
pub(super) fn set_apart(_server: &MariaDb) -> io::Result<()> {
    Ok(())
}
