//! What goes beside a call of [`Resource::acquire`](crate::Resource::acquire): the request's label, tenant and deadline.

pub use crate::details::{Label, Tenant};
