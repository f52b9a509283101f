use std::io;

/// Where the system does not say how many descriptors there may be.
const FALLBACK: usize = 8192;

/// How many connections fit into the process's descriptors, when each takes `descriptors` of them.
///
/// A quarter of the descriptors is kept for everything else: database connections, files, logs.
pub(crate) fn default_max_connections(descriptors: usize) -> usize {
    open_files().map_or(FALLBACK, |open| fitting(open, descriptors))
}

fn fitting(open_files: usize, descriptors: usize) -> usize {
    let ours = open_files - open_files / 4;
    (ours / descriptors).max(1)
}

/// The soft limit; what `ulimit -n` says.
#[cfg(unix)]
fn open_files() -> Option<usize> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.and_then(|soft| usize::try_from(soft).ok())
}

#[cfg(not(unix))]
fn open_files() -> Option<usize> {
    None
}

/// Whether the same call will succeed when somebody has closed something.
#[cfg(unix)]
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(not(unix))]
pub(crate) fn is_out_of_descriptors(_error: &io::Error) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_is_kept_and_a_watched_connection_counts_twice() {
        assert_eq!(fitting(1024, 1), 768);
        assert_eq!(fitting(1024, 2), 384);
        assert_eq!(fitting(0, 2), 1);
    }
}
