//! What a request says about itself to the acquisitions that it makes: a label, a tenant key and a deadline.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::escape::Escaped;

/// The details of a scope: one pointer, which is null for a scope that has none.
///
/// A clone is a snapshot: it does not see what is set later.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Details(Option<Arc<Set>>);

/// The details that were set.
#[derive(Clone, Default, PartialEq, Eq)]
struct Set {
    label: Option<Arc<str>>,
    tenant: Option<Tenant>,
    deadline: Option<Instant>,
    /// The name of the pool from which the handle of this acquisition comes. Set only for an observer.
    pool: Option<Arc<str>>,
}

impl Details {
    pub(crate) const NONE: Details = Details(None);

    pub(crate) fn label(&self) -> Option<&str> {
        self.0.as_ref()?.label.as_deref()
    }

    pub(crate) fn tenant(&self) -> Option<&Tenant> {
        self.0.as_ref()?.tenant.as_ref()
    }

    #[inline]
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.as_ref()?.deadline
    }

    /// Returns the label as a value of its own, without the other details.
    pub(crate) fn to_label(&self) -> Option<Label> {
        let set = self.0.as_ref()?;
        let label = set.label.clone()?;
        let alone = set.tenant.is_none() && set.deadline.is_none() && set.pool.is_none();
        Some(Label(if alone { Arc::clone(set) } else { Arc::new(Set { label: Some(label), ..Set::default() }) }))
    }

    pub(crate) fn set_label(&mut self, label: Label) {
        match &self.0 {
            // A front end sets the label first, for each request: this allocates nothing.
            None => self.0 = Some(label.0),
            Some(_) => self.set().label.clone_from(&label.0.label),
        }
    }

    pub(crate) fn set_tenant(&mut self, tenant: Tenant) {
        self.set().tenant = Some(tenant);
    }

    pub(crate) fn set_deadline(&mut self, at: Instant) {
        self.set().deadline = Some(at);
    }

    pub(crate) fn pool(&self) -> Option<&Arc<str>> {
        self.0.as_ref()?.pool.as_ref()
    }

    pub(crate) fn set_pool(&mut self, name: &Option<Arc<str>>) {
        if self.pool() != name.as_ref() {
            self.set().pool.clone_from(name);
        }
    }

    /// Removes the pool, for an acquisition within another one.
    pub(crate) fn without_pool(mut self) -> Self {
        self.set_pool(&None);
        self
    }

    /// Removes the deadline, for work that follows the request.
    pub(crate) fn without_deadline(mut self) -> Self {
        if self.deadline().is_some() {
            self.set().deadline = None;
        }
        self
    }

    /// Returns the details for writing: in place if no snapshot shares them, else in a copy.
    fn set(&mut self) -> &mut Set {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Details")
            .field("label", &self.label())
            .field("tenant", &self.tenant())
            .field("deadline", &self.deadline())
            .finish()
    }
}

/// The name of a kind of request, such as `GET /orders/{id}`, for logs, metrics and error messages.
///
/// Set it with [`ScopeHandle::set_label`](crate::ScopeHandle::set_label); the front end for axum sets it from the
/// matched route. It is shown beside the handles that the request holds: by [`Pool::holders`](crate::Pool::holders), in
/// the error of a caller that got no handle, and in the events of the [observer](crate::observer::Subject::label).
///
/// A label should have few values, because metrics keep a series for each of them, and must not contain a secret: use
/// the route and not the path.
///
/// The text is cut at 128 characters, and control characters such as line breaks are escaped, so that it can be written
/// to a log as it is.
///
/// Creating a label allocates, and cloning or setting it does not: create it once for many requests.
///
/// ```
/// use reqscope::context::Label;
///
/// let label = Label::new("GET /orders/{id}");
/// assert_eq!(label.as_str(), "GET /orders/{id}");
/// assert_eq!(Label::from("one\ntwo").to_string(), r"one\ntwo");
/// ```
// It is the details of a scope that has nothing else, so that a scope takes it as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Label(Arc<Set>);

impl Label {
    /// Creates a label with this text.
    pub fn new(text: impl AsRef<str>) -> Self {
        let label = Arc::from(Shown(text.as_ref()).to_string());
        Label(Arc::new(Set { label: Some(label), ..Set::default() }))
    }

    /// Returns the text, cut and escaped.
    pub fn as_str(&self) -> &str {
        self.0.label.as_deref().unwrap_or_default()
    }
}

impl From<&str> for Label {
    fn from(text: &str) -> Self {
        Label::new(text)
    }
}

impl From<String> for Label {
    fn from(text: String) -> Self {
        Label::new(text)
    }
}

impl From<Cow<'_, str>> for Label {
    fn from(text: Cow<'_, str>) -> Self {
        Label::new(text)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Label").field(&self.as_str()).finish()
    }
}

/// The customer on whose behalf a request is made, for resources that treat them separately.
///
/// Set it with [`ScopeHandle::set_tenant`](crate::ScopeHandle::set_tenant) once it is known, which is often after
/// authentication.
///
/// It is a key: [`as_str`](Tenant::as_str) returns exactly the text that was set. `Display` and `Debug` show at most
/// 128 characters of it, and escape control characters such as line breaks, because it may come from the client.
///
/// ```
/// use reqscope::context::Tenant;
///
/// let tenant = Tenant::from("acme\n");
/// assert_eq!(tenant.as_str(), "acme\n");
/// assert_eq!(tenant.to_string(), r"acme\n");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// Creates a tenant with this key.
    pub fn new(key: impl Into<Arc<str>>) -> Self {
        Tenant(key.into())
    }

    /// Returns the key, whole and not escaped.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Tenant {
    fn from(key: &str) -> Self {
        Tenant::new(key)
    }
}

impl From<String> for Tenant {
    fn from(key: String) -> Self {
        Tenant::new(key)
    }
}

impl From<Arc<str>> for Tenant {
    fn from(key: Arc<str>) -> Self {
        Tenant(key)
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(self.as_str()).fmt(f)
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tenant({self})")
    }
}

/// A text as it is shown: cut, and without control characters, which could forge a line of a log.
struct Shown<'a>(&'a str);

/// How many characters of a text are shown.
const MOST: usize = 128;

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.char_indices().nth(MOST).map_or(self.0.len(), |(end, _)| end);
        Escaped(&self.0[..end]).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_is_cut_at_128_characters() {
        // Two bytes each, so a cut at a byte would be in the middle of a character.
        let label = Label::new("ä".repeat(200));
        assert_eq!(label.as_str(), "ä".repeat(128));
        let tenant = Tenant::new("ß".repeat(200));
        assert_eq!(tenant.to_string(), "ß".repeat(128));
        assert_eq!(tenant.as_str().chars().count(), 200);
    }

    #[test]
    fn shown_text_cannot_forge_a_line() {
        let forged = "GET /\r\nERROR \u{1b}[2J\u{7f}\u{85}\u{2028}\u{202e}\0";
        let label = Label::new(forged);
        let tenant = Tenant::new(forged);
        for shown in [label.to_string(), tenant.to_string(), format!("{label:?}"), format!("{tenant:?}")] {
            assert!(shown.contains("GET /"), "{shown}");
            assert!(shown.is_ascii() && !shown.contains(|c: char| c.is_control()), "{shown:?}");
        }
        assert_eq!(Label::new(r#"query "a" \ 'b'"#).as_str(), r#"query "a" \ 'b'"#);
    }

    #[test]
    fn label_of_a_scope_leaves_its_tenant_behind() {
        let mut details = Details::NONE;
        details.set_label(Label::new("GET /"));
        details.set_tenant(Tenant::new("acme"));
        let mut other = Details::NONE;
        other.set_label(details.to_label().unwrap());
        assert_eq!((other.label(), other.tenant()), (Some("GET /"), None));
    }

    #[test]
    fn snapshot_does_not_change() {
        let mut details = Details::NONE;
        details.set_label(Label::new("GET /"));
        let snapshot = details.clone();
        details.set_label(Label::new("POST /"));
        details.set_tenant(Tenant::new("acme"));
        assert_eq!((snapshot.label(), snapshot.tenant()), (Some("GET /"), None));
        assert_eq!((details.label(), details.tenant().map(Tenant::as_str)), (Some("POST /"), Some("acme")));
    }
}
