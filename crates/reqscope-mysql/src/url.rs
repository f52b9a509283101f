//! Reads a database URL without ever repeating it.

use mysql_async::{Opts, UrlError};

use crate::MySqlError;

/// What the driver makes of the URL.
pub(crate) fn read(url: &str) -> Result<Opts, MySqlError> {
    Opts::from_url(url).map_err(|error| url_error(&error))
}

/// The driver's errors quote the part that they do not understand. Where a password has a `?` or a `/` in it that
/// part may be half of the password, so what is left of them is the reason.
pub(crate) fn url_error(error: &UrlError) -> MySqlError {
    MySqlError::Url(match error {
        UrlError::FeatureRequired { .. } => "has a parameter for which the driver was not built",
        UrlError::InvalidParamValue { .. } => "has a parameter with a value that it cannot have",
        UrlError::InvalidPoolConstraints { .. } => "has a pool_min above its pool_max",
        UrlError::UnknownParameter { .. } => {
            "has a parameter that is not known, or a `?` in the password that is not percent-encoded"
        }
        UrlError::UnsupportedScheme { .. } => "does not begin with `mysql://`",
        UrlError::Parse(_) => "is no URL, or has a `/`, `@` or `:` in the password that is not percent-encoded",
        UrlError::Invalid => "is incomplete, or is none that a server can be reached by",
    })
}
