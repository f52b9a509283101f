//! The text of an error: its own level only; the next level is its source.

use std::fmt;

use super::class::{Class, Kind};
use super::situation::Situation;
use super::type_name::TypeName;
use super::{Error, ErrorInner, Stage};

impl<C> fmt::Display for Error<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ErrorInner { class, situation, context, elapsed, holder, shortage, cause: _ } = &*self.0;
        let Class { kind, stage, permanent, .. } = class;
        let text = match kind {
            Kind::Failed if *permanent => "the resource failed permanently",
            Kind::Failed => "the resource failed",
            Kind::Timeout => "timed out",
            Kind::Closed => "the scope or pool is closed",
            Kind::Unavailable => "the backend is unavailable",
            Kind::Exhausted => "the resource is exhausted",
            Kind::Panicked => "the resource panicked",
            Kind::Runtime => "the async runtime is unusable",
            Kind::UnknownOutcome => "the outcome is unknown",
        };
        match situation {
            Some(closed) if *kind == Kind::Closed => closed.fmt(f)?,
            _ => f.write_str(text)?,
        }
        if let Some(elapsed) = elapsed {
            write!(f, " after {:.1} s", elapsed.as_secs_f64())?;
        }
        match stage {
            Some(Stage::Waiting) if shortage.is_some() => {
                f.write_str(" waiting for a handle")?;
                if let Some(resource) = shortage.as_ref().and_then(|shortage| shortage.resource) {
                    write!(f, " of Pool<{}>", TypeName(resource))?;
                }
            }
            Some(stage) => write!(f, " while {stage}")?,
            None => {}
        }
        if let Some(context) = context {
            write!(f, ": {context}")?;
        }
        if let Some(holder) = holder {
            let (file, line) = (holder.file(), holder.line());
            match situation {
                Some(remedy @ Situation::OwnGuard) => {
                    let separator = if context.is_none() { ": " } else { "; " };
                    write!(f, "{separator}a guard of this request, taken at {file}:{line}, is still held: {remedy}")?;
                }
                _ => write!(f, "; the handle was taken at {file}:{line}")?,
            }
        }
        if let Some(shortage) = shortage {
            let separator = if context.is_none() && holder.is_none() { ": " } else { "; " };
            write!(f, "{separator}{shortage}")?;
        }
        Ok(())
    }
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
