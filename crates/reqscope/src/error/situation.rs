use std::borrow::Cow;
use std::fmt;

use super::type_name::TypeName;

/// A situation that the core itself notices. The message of its error says which scope or pool it is about, and what to
/// do.
#[derive(Clone)]
pub(crate) enum Situation {
    ScopeClosed {
        /// Whether the scope was closed while the caller waited.
        waited: bool,
    },
    PoolClosed {
        name: Option<Cow<'static, str>>,
        /// The type of the pool's resource.
        resource: &'static str,
    },
    SharedClosed {
        /// The type of the resource.
        resource: &'static str,
    },
    /// The caller waited for a guard that its own request holds. A cell belongs to one request, so every wait for a
    /// guard is such a wait.
    OwnGuard,
}

impl fmt::Display for Situation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Situation::ScopeClosed { waited } => {
                f.write_str(if *waited {
                    "the request ended and its scope was closed while this call waited"
                } else {
                    "the request has ended and its scope is closed"
                })?;
                f.write_str(": detach the handle before that (`Guard::detach`) or use `ScopeHandle::on_completed`")
            }
            Situation::PoolClosed { name, resource } => {
                match name {
                    Some(name) => write!(f, "pool {name} is closed")?,
                    None => write!(f, "Pool<{}> is closed", TypeName(resource))?,
                }
                f.write_str(": close a pool after the last request has ended (`Scopes::drain`)")
            }
            Situation::SharedClosed { resource } => {
                write!(f, "Shared<{}> was dropped: keep it for as long as it is used", TypeName(resource))
            }
            Situation::OwnGuard => f.write_str("drop it first, or pass it on as `&mut`"),
        }
    }
}
