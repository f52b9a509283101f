use std::any::{Any, TypeId};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::Exit;
use crate::close_error::Problem;
use crate::runtime::Runtime;
use crate::time::Deadline;

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

/// All cells of a scope. Most requests use one resource; that one needs no allocation for the list.
#[derive(Default)]
pub(crate) struct Tenants {
    first: Option<Arc<dyn Tenant>>,
    more: Vec<Arc<dyn Tenant>>,
}

impl Tenants {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.more.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<dyn Tenant>> {
        self.first.iter().chain(&self.more)
    }

    pub(crate) fn push(&mut self, tenant: Arc<dyn Tenant>) {
        match self.first {
            None => self.first = Some(tenant),
            Some(_) => self.more.push(tenant),
        }
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&dyn Tenant) -> bool) {
        self.first = self.first.take().filter(|tenant| keep(&**tenant));
        self.more.retain(|tenant| keep(&**tenant));
    }

    /// Brings them in the order of their release as `verdict`: the settling ones first, each kind in reverse order
    /// of acquisition.
    pub(crate) fn sort(&mut self, verdict: Exit) {
        if !self.more.is_empty() {
            self.more.extend(self.first.take());
            // `next` takes them from the end.
            self.more.sort_by_cached_key(|tenant| (tenant.settles(verdict), tenant.order()));
        }
    }

    /// The next one to release.
    pub(crate) fn peek(&self) -> Option<&Arc<dyn Tenant>> {
        self.more.last().or(self.first.as_ref())
    }

    pub(crate) fn next(&mut self) -> Option<Arc<dyn Tenant>> {
        self.more.pop().or_else(|| self.first.take())
    }
}
