use std::any::{Any, TypeId};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::{mem, slice};

use crate::exit::Exit;
use crate::rt::runtime::Runtime;
use crate::rt::time::Deadline;
use crate::scope::close_error::Problem;

/// A cell, seen from its scope, which does not know its type.
pub(crate) trait Tenant: Any + Send + Sync {
    /// The type and the address of the resource. No address is used twice: the cell keeps its `Arc`.
    fn key(&self) -> Key;

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;

    /// The how-manieth acquisition of the scope its handle was.
    fn order(&self) -> usize;

    /// Ends all lending. Is there a handle at home? What stands in the way of settling as `told` is a problem.
    fn seal(&self, told: Exit, problems: &mut Vec<Problem>) -> bool;

    /// Does the outcome of a release with this exit matter to the client?
    fn settles(&self, exit: Exit) -> bool;

    /// After the seal: begins the release of what is at home, in the time that is left, or by default in the time
    /// that any release has. `None`: there is nothing to wait for.
    fn release(&self, exit: Exit, deadline: Option<&Deadline>) -> Option<Job>;

    /// The type of the resource.
    fn resource(&self) -> &'static str;

    /// All three phases at once, for the only tenant of a scope: what settles nothing has nothing that it could be
    /// told by others, or they by it. `false`: it does settle, and nothing was done.
    fn close_alone(&self, told: Exit) -> bool;
}

pub(crate) type Key = (TypeId, usize);

/// A release whose type is forgotten. It may be dropped: the reaper then takes it.
pub(crate) struct Job {
    pub(crate) future: Pin<Box<dyn Future<Output = Result<(), Problem>> + Send>>,
    /// Where the handle was acquired.
    pub(crate) home: Option<Runtime>,
    /// The type of the resource.
    pub(crate) resource: &'static str,
}

/// All cells of a scope.
#[derive(Default)]
pub(crate) enum Tenants {
    #[default]
    None,
    /// As most requests have it: no allocation for a list.
    One(Arc<dyn Tenant>),
    Many(Vec<Arc<dyn Tenant>>),
}

impl Tenants {
    pub(crate) fn as_slice(&self) -> &[Arc<dyn Tenant>] {
        match self {
            Tenants::None => &[],
            Tenants::One(tenant) => slice::from_ref(tenant),
            Tenants::Many(tenants) => tenants,
        }
    }

    pub(crate) fn push(&mut self, tenant: Arc<dyn Tenant>) {
        match mem::replace(self, Tenants::One(tenant)) {
            Tenants::None => {}
            before => self.join(before),
        }
    }

    /// The newest one comes after those that were there before.
    #[cold]
    fn join(&mut self, before: Self) {
        let mut all = match before {
            Tenants::None => Vec::new(),
            Tenants::One(first) => vec![first],
            Tenants::Many(many) => many,
        };
        all.extend(self.next());
        *self = Tenants::Many(all);
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&dyn Tenant) -> bool) {
        match self {
            Tenants::None => {}
            Tenants::One(tenant) if keep(&**tenant) => {}
            Tenants::One(_) => *self = Tenants::None,
            Tenants::Many(tenants) => tenants.retain(|tenant| keep(&**tenant)),
        }
    }

    /// Brings them in the order of their release as `verdict`: the settling ones first, each kind in reverse order
    /// of acquisition.
    pub(crate) fn sort(&mut self, verdict: Exit) {
        if let Tenants::Many(tenants) = self {
            // `next` takes them from the end.
            tenants.sort_by_cached_key(|tenant| (tenant.settles(verdict), tenant.order()));
        }
    }

    /// The next one to release.
    pub(crate) fn peek(&self) -> Option<&Arc<dyn Tenant>> {
        self.as_slice().last()
    }

    pub(crate) fn next(&mut self) -> Option<Arc<dyn Tenant>> {
        if let Tenants::Many(tenants) = self {
            return tenants.pop();
        }
        match mem::take(self) {
            Tenants::One(tenant) => Some(tenant),
            _ => None,
        }
    }
}
