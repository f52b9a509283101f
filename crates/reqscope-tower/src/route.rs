//! The label of a request that an axum router has matched.

use std::cell::RefCell;

use axum::extract::MatchedPath;
use http::{Method, Request};
use reqscope::context::Label;

/// A label that was created on this thread, and what it was created from.
struct Known {
    method: Method,
    path: MatchedPath,
    label: Label,
}

/// How many labels a thread remembers.
const KNOWN: usize = 64;

// A label is created once, and not for each request. By thread, because a lock, or the count of a label that all threads
// share, would be contended by all requests. Not in the service: a router whose state is `()` may create its services for
// each request.
thread_local! {
    static RECENT: RefCell<Vec<Option<Known>>> = const { RefCell::new(Vec::new()) };
}

/// Returns the label of the request's route. Returns `None` if there is no route.
pub(crate) fn label<B>(request: &Request<B>) -> Option<Label> {
    let path: &MatchedPath = request.extensions().get()?;
    let method = request.method();
    let recent =
        RECENT.try_with(|recent| recent.borrow().get(place(method, path.as_str()))?.as_ref()?.label(method, path));
    // A thread that is being torn down remembers none.
    recent.ok().flatten().or_else(|| Some(create(method, path)))
}

impl Known {
    fn label(&self, method: &Method, path: &MatchedPath) -> Option<Label> {
        (self.method == *method && self.path.as_str() == path.as_str()).then(|| self.label.clone())
    }
}

/// Returns the place of a route among the known ones. A few bytes tell most routes apart; two routes in one place only
/// take turns in it.
fn place(method: &Method, path: &str) -> usize {
    let (method, path) = (method.as_str().as_bytes(), path.as_bytes());
    let byte = |of: &[u8], at: usize| of.get(at).map_or(0, |byte| usize::from(*byte));
    let parts = [
        method.len(),
        byte(method, 0),
        path.len(),
        byte(path, 1),
        byte(path, path.len() / 4),
        byte(path, path.len() / 2),
        byte(path, path.len() - path.len() / 4),
    ];
    parts.into_iter().fold(0, |hash: usize, part| hash.wrapping_mul(31).wrapping_add(part)) % KNOWN
}

#[cold]
fn create(method: &Method, path: &MatchedPath) -> Label {
    let standard = matches!(
        method.as_str(),
        "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH"
    );
    if !standard {
        // Not remembered, or a client could replace the known ones.
        return Label::new(format!("_OTHER {}", path.as_str()));
    }
    let label = Label::new(format!("{method} {}", path.as_str()));
    let known = Known { method: method.clone(), path: path.clone(), label: label.clone() };
    let remembered = RECENT.try_with(|recent| {
        let mut recent = recent.borrow_mut();
        recent.resize_with(KNOWN, || None);
        recent[place(method, path.as_str())] = Some(known);
    });
    // A thread that is being torn down remembers none.
    remembered.unwrap_or_default();
    label
}
