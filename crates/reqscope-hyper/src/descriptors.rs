use std::io;

/// The number of connections where the system does not report a limit on descriptors.
const FALLBACK: usize = 8192;

/// Returns how many connections fit into the process's limit, if each needs that many descriptors.
///
/// A quarter of the descriptors is left for everything else: database connections, files, logs.
pub(crate) fn default_max_connections(descriptors: usize) -> usize {
    open_files().map_or(FALLBACK, |open| fitting(open, descriptors))
}

fn fitting(open_files: usize, descriptors: usize) -> usize {
    let ours = open_files - open_files / 4;
    (ours / descriptors).max(1)
}

/// Returns the soft limit, as shown by `ulimit -n`.
#[cfg(unix)]
fn open_files() -> Option<usize> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.and_then(|soft| usize::try_from(soft).ok())
}

#[cfg(not(unix))]
fn open_files() -> Option<usize> {
    None
}

/// Returns whether the same call can succeed once another descriptor is closed.
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
    fn quarter_is_kept_and_watched_connections_count_twice() {
        assert_eq!(fitting(1024, 1), 768);
        assert_eq!(fitting(1024, 2), 384);
        assert_eq!(fitting(0, 2), 1);
    }
}
