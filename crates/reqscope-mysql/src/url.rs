//! Parses a database URL without ever repeating it.

use mysql_async::{Opts, UrlError};

use crate::MySqlError;

/// Parses the URL with the driver.
pub(crate) fn read(url: &str) -> Result<Opts, MySqlError> {
    Opts::from_url(url).map_err(|error| url_error(&error))
}

/// Converts the driver's error into a reason without quotes. The driver quotes the part that it does not understand,
/// which may be half of a password with a `?` or a `/` in it.
pub(crate) fn url_error(error: &UrlError) -> MySqlError {
    MySqlError::Url(match error {
        UrlError::FeatureRequired { .. } => "has a parameter that this build of the driver does not support",
        UrlError::InvalidParamValue { .. } => "has a parameter with an invalid value",
        UrlError::InvalidPoolConstraints { .. } => "has a pool_min above its pool_max",
        UrlError::UnknownParameter { .. } => {
            "has an unknown parameter, or a `?` in the password that is not percent-encoded"
        }
        UrlError::UnsupportedScheme { .. } => "does not begin with `mysql://`",
        UrlError::Parse(_) => "is not a URL, or has a `/`, `@` or `:` in the password that is not percent-encoded",
        UrlError::Invalid => "is incomplete, or does not name a server",
    })
}
