use serde::{Deserialize, Serialize};

/// Which of them is ours.
pub(super) const OURS: &str = "reqscope";

/// Who is compared, as reqscope-compare lists them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Contender {
    /// On the command line.
    pub(super) name: String,
    /// In the tables.
    pub(super) title: String,
    package: Option<String>,
    version: Option<String>,
}

impl Contender {
    pub(super) fn is_ours(&self) -> bool {
        self.package.as_deref() == Some(OURS)
    }

    #[cfg(test)]
    pub(super) fn named(name: &str) -> Contender {
        let package = Some(name.to_owned());
        Contender { name: name.to_owned(), title: name.to_owned(), package, version: Some("1.2.3".to_owned()) }
    }

    /// Under which version it did what it did; none for a few lines of one's own.
    pub(super) fn release(&self) -> Option<String> {
        Some(format!("{} {}", self.package.as_deref()?, self.version.as_deref()?))
    }
}
