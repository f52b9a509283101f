//! The words of an error: its own level only, the next one is its source.

use std::fmt;

use super::{Error, ErrorInner, Kind, Stage};

impl<C> fmt::Display for Error<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ErrorInner { kind, stage, context, elapsed, holder, shortage, permanent, cause: _ } = &*self.0;
        f.write_str(match kind {
            Kind::Failed if *permanent => "the resource failed for good",
            Kind::Failed => "the resource failed",
            Kind::Timeout => "timed out",
            Kind::Closed => "closed",
            Kind::Unavailable => "the backend is unavailable",
            Kind::Exhausted => "a limit is reached",
            Kind::Panicked => "the resource panicked",
            Kind::Runtime => "the async runtime is of no use",
        })?;
        if let Some(elapsed) = elapsed {
            write!(f, " after {:.1} s", elapsed.as_secs_f64())?;
        }
        match stage {
            Some(Stage::Waiting) if shortage.is_some() => f.write_str(" waiting for a connection")?,
            Some(stage) => write!(f, " while {stage}")?,
            None => {}
        }
        if let Some(context) = context {
            write!(f, ": {context}")?;
        }
        if let Some(holder) = holder {
            write!(f, "; held since {}:{}", holder.file(), holder.line())?;
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
        self.cause().map(|cause| cause as _)
    }
}
