//! The text of an error: its own level only; the next level is its source.

use std::fmt;

use super::class::{Class, Kind};
use super::{Error, ErrorInner, Stage};

impl<C> fmt::Display for Error<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ErrorInner { class, context, elapsed, holder, shortage, cause: _ } = &*self.0;
        let Class { kind, stage, permanent } = class;
        f.write_str(match kind {
            Kind::Failed if *permanent => "the resource failed permanently",
            Kind::Failed => "the resource failed",
            Kind::Timeout => "timed out",
            Kind::Closed => "the scope or pool is closed",
            Kind::Unavailable => "the backend is unavailable",
            Kind::Exhausted => "the resource is exhausted",
            Kind::Panicked => "the resource panicked",
            Kind::Runtime => "the async runtime is unusable",
            Kind::UnknownOutcome => "the outcome is unknown",
        })?;
        if let Some(elapsed) = elapsed {
            write!(f, " after {:.1} s", elapsed.as_secs_f64())?;
        }
        match stage {
            Some(Stage::Waiting) if shortage.is_some() => {
                f.write_str(" waiting for a handle")?;
                if let Some(resource) = shortage.as_ref().and_then(|shortage| shortage.resource) {
                    f.write_str(" of Pool<")?;
                    write_type_name(f, resource)?;
                    f.write_str(">")?;
                }
            }
            Some(stage) => write!(f, " while {stage}")?,
            None => {}
        }
        if let Some(context) = context {
            write!(f, ": {context}")?;
        }
        if let Some(holder) = holder {
            write!(f, "; the handle was taken at {}:{}", holder.file(), holder.line())?;
        }
        if let Some(shortage) = shortage {
            let separator = if context.is_none() && holder.is_none() { ": " } else { "; " };
            write!(f, "{separator}{shortage}")?;
        }
        Ok(())
    }
}

/// Writes the name of a type without the paths in it: `Timeout<MySql>` instead of
/// `reqscope::wrap::timeout::Timeout<reqscope_mysql::MySql>`.
fn write_type_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut rest = name;
    while !rest.is_empty() {
        let (path, tail) = rest.split_at(rest.find(|c| !is_path(c)).unwrap_or(rest.len()));
        f.write_str(path.rsplit("::").next().unwrap_or(path))?;
        let (between, tail) = tail.split_at(tail.find(is_path).unwrap_or(tail.len()));
        f.write_str(between)?;
        rest = tail;
    }
    Ok(())
}

impl<C: fmt::Debug> fmt::Debug for Error<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self}")?;
        if let Some(cause) = self.cause() {
            write!(f, "; cause: {cause:?}")?;
        }
        f.write_str(")")
    }
}

impl<C: std::error::Error + 'static> std::error::Error for Error<C> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.class.note();
        self.cause().map(|cause| cause as _)
    }
}
