//! What goes beside a call of [`Resource::acquire`](crate::Resource::acquire): the request's label, tenant and deadline.
//!
//! A request says something about itself once: its front end or its middleware calls
//! [`ScopeHandle::set_label`](crate::ScopeHandle::set_label), [`set_tenant`](crate::ScopeHandle::set_tenant) and
//! [`Scope::set_deadline`](crate::Scope::set_deadline). Each acquisition of the request takes a snapshot of that along,
//! through every wrapper and into the task that it may move to, and shows it to the observer and in the errors of pools.
//! [`AcquireContext`] is this snapshot, for resources that want to know, and for wrappers that spawn tasks.
//!
//! What does not have it: a handle that a pool creates, and a [`Shared`](crate::Shared) handle. They outlive the request
//! that happens to need them first.

pub use crate::details::{Label, Tenant};
pub use crate::lease::context::AcquireContext;
