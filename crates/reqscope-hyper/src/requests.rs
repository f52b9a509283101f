use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::{Method, Request, Uri};

/// Which request it was, for the log: its method and its path.
///
/// The query is left out, because secrets travel in it.
///
/// ```
/// use reqscope_hyper::{RequestLine, ServeEvent};
///
/// fn log(event: ServeEvent<'_>) {
///     if let ServeEvent::RequestCut(request) = event {
///         let request: &RequestLine = request;
///         eprintln!("{request} took too long"); // GET /report took too long
///     }
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RequestLine {
    method: Method,
    uri: Uri,
}

impl RequestLine {
    /// Of this request.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        RequestLine { method: request.method().clone(), uri: request.uri().clone() }
    }

    /// Its method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Its path, without the query.
    pub fn path(&self) -> &str {
        self.uri.path()
    }
}

impl fmt::Display for RequestLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path())
    }
}

impl fmt::Debug for RequestLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The requests of one connection whose handlers run. HTTP/1 has one, so slot 0 is taken again and again.
#[derive(Default)]
pub(crate) struct RunningRequests(Mutex<Vec<Option<RequestLine>>>);

impl RunningRequests {
    /// Takes a slot; the caller gives it back.
    pub(crate) fn begin(&self, line: RequestLine) -> usize {
        let mut slots = self.lock();
        match slots.iter().position(Option::is_none) {
            Some(free) => {
                slots[free] = Some(line);
                free
            }
            None => {
                slots.push(Some(line));
                slots.len() - 1
            }
        }
    }

    pub(crate) fn end(&self, index: usize) {
        let line = self.lock()[index].take();
        drop(line);
    }

    pub(crate) fn lines(&self) -> Vec<RequestLine> {
        self.lock().iter().flatten().cloned().collect()
    }

    /// A panic under this lock leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Vec<Option<RequestLine>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &'static str) -> RequestLine {
        RequestLine { method: Method::GET, uri: Uri::from_static(path) }
    }

    #[test]
    fn a_slot_that_was_given_back_is_taken_again() {
        let requests = RunningRequests::default();
        assert_eq!([requests.begin(line("/a")), requests.begin(line("/b"))], [0, 1]);
        requests.end(0);
        assert_eq!(requests.lines(), [line("/b")]);
        assert_eq!(requests.begin(line("/c")), 0);
        assert_eq!(requests.lines(), [line("/c"), line("/b")]);
    }

    #[test]
    fn a_query_reaches_no_log() {
        let line = line("/login?password=swordfish");
        assert_eq!(format!("{line} {line:?}"), "GET /login GET /login");
    }
}
