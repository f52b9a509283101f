use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::{Method, Request, Uri};

/// The method and the path of a request, for logs.
///
/// The query is left out, because it may contain secrets.
///
/// # Examples
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
    /// Returns the line of this request.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        RequestLine { method: request.method().clone(), uri: request.uri().clone() }
    }

    /// Returns the method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the path, without the query.
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

/// The requests of one connection whose handlers are running. HTTP/1 has at most one, so index 0 is reused.
#[derive(Default)]
pub(crate) struct RunningRequests(Mutex<Vec<Option<RequestLine>>>);

impl RunningRequests {
    /// Adds a request and returns its index, which the caller passes to [`end`](RunningRequests::end).
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

    /// Removes the request at `index`.
    pub(crate) fn end(&self, index: usize) {
        let line = self.lock()[index].take();
        drop(line);
    }

    /// Returns the lines of all running requests.
    pub(crate) fn lines(&self) -> Vec<RequestLine> {
        self.lock().iter().flatten().cloned().collect()
    }

    /// Locks the list. A poisoned lock is fine: a panic leaves no inconsistent state.
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
    fn freed_index_is_reused() {
        let requests = RunningRequests::default();
        assert_eq!([requests.begin(line("/a")), requests.begin(line("/b"))], [0, 1]);
        requests.end(0);
        assert_eq!(requests.lines(), [line("/b")]);
        assert_eq!(requests.begin(line("/c")), 0);
        assert_eq!(requests.lines(), [line("/c"), line("/b")]);
    }

    #[test]
    fn query_is_not_displayed() {
        let line = line("/login?password=swordfish");
        assert_eq!(format!("{line} {line:?}"), "GET /login GET /login");
    }
}
