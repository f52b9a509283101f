//! Puts the server on one processor and this program on another.
//!
//! At every wake-up the system chooses whether both share a processor, and a query then takes 18 us or 58 us, which is
//! more than the differences that are measured here.

use std::io;

use reqscope_testkit::MariaDb;

/// Binds all threads of both processes, and the threads that these will start.
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

/// Binds all threads of a process to a processor.
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

/// Does nothing: other systems have no such call.
#[cfg(not(target_os = "linux"))]
pub(super) fn set_apart(_server: &MariaDb) -> io::Result<()> {
    Ok(())
}
