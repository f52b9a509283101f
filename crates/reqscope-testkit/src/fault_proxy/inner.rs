//! What a proxy, its connections and the tests that wait for them share.
//!
//! One short lock guards all of it. Bytes are written under it, too (no write waits), so a fault on all connections is
//! atomic, nothing passes after it, and a peer that has received a byte finds it counted.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::Notify;

use super::listener::Listener;
use super::plan::Plan;
use super::playback::Playback;
use super::script::Script;
use super::traffic::Traffic;

pub(super) struct Inner {
    pub(super) addr: SocketAddr,
    pub(super) upstream: Vec<SocketAddr>,
    state: Mutex<ProxyState>,
    /// Notified when something was counted.
    counted: Notify,
    /// Notified when the listener was opened again.
    reopened: Notify,
}

pub(super) struct ProxyState {
    pub(super) listener: Listener,
    pub(super) plan: Plan,
    /// The open connections, by number.
    links: BTreeMap<usize, Link>,
    pub(super) traffic: Traffic,
}

struct Link {
    playback: Playback,
    changed: Arc<Notify>,
}

/// The entry of one connection. Its owner also owns the sockets, and drops them first.
pub(super) struct Registration {
    inner: Arc<Inner>,
    number: usize,
    changed: Arc<Notify>,
}

impl Inner {
    pub(super) fn new(listener: Listener, addr: SocketAddr, upstream: Vec<SocketAddr>) -> Self {
        let state =
            ProxyState { listener, plan: Plan::default(), links: BTreeMap::new(), traffic: Traffic::default() };
        Inner { addr, upstream, state: Mutex::new(state), counted: Notify::new(), reopened: Notify::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ProxyState> {
        self.state.lock()
    }

    /// Waits until the condition holds for the counters.
    ///
    /// Nothing is lost when it is dropped.
    pub(super) async fn until(&self, mut condition: impl FnMut(&Traffic) -> bool) -> Traffic {
        loop {
            // Before the check, or a count between the two would be missed.
            let counted = self.counted.notified();
            let traffic = self.lock().traffic;
            if condition(&traffic) {
                return traffic;
            }
            counted.await;
        }
    }

    /// Accepts the next connection, counts it, and takes its script from the plan.
    ///
    /// Dropped while it waits, it has accepted none.
    pub(super) async fn accept(self: &Arc<Self>) -> io::Result<(Registration, TcpStream)> {
        let stream = loop {
            let reopened = self.reopened.notified();
            select! {
                accepted = poll_fn(|cx| self.lock().listener.poll_accept(cx)) => break accepted?,
                () = reopened => {}
            }
        };
        Ok((self.register(), stream))
    }

    fn register(self: &Arc<Self>) -> Registration {
        let changed = Arc::new(Notify::new());
        let mut state = self.lock();
        let number = state.traffic.accepted;
        let mut playback = Playback::default();
        playback.play(state.plan.take(number));
        state.links.insert(number, Link { playback, changed: Arc::clone(&changed) });
        state.traffic.accepted += 1;
        state.traffic.open += 1;
        drop(state);
        self.counted.notify_waiters();
        Registration { inner: Arc::clone(self), number, changed }
    }

    /// Opens the listener again.
    pub(super) fn reopen(&self) -> io::Result<()> {
        self.lock().listener.reopen(self.addr)?;
        self.reopened.notify_waiters();
        Ok(())
    }
}

impl ProxyState {
    /// Lets the selected open connections play the script. The caller notifies what is returned after it has unlocked.
    pub(super) fn play(&mut self, those: impl Fn(usize) -> bool, script: &Script) -> Vec<Arc<Notify>> {
        let links = self.links.iter_mut().filter(|(number, _)| those(**number));
        links
            .map(|(_, link)| {
                link.playback.play(script.clone());
                Arc::clone(&link.changed)
            })
            .collect()
    }
}

impl Registration {
    pub(super) fn upstream(&self) -> &[SocketAddr] {
        &self.inner.upstream
    }

    /// Waits for a change. Call it before the check that finds none.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.changed.notified()
    }

    /// Calls `look` under the lock, and then notifies the tasks that wait for a change.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut Playback, &mut Traffic) -> T) -> T {
        let mut state = self.inner.lock();
        let ProxyState { links, traffic, .. } = &mut *state;
        let before = *traffic;
        let link = links.get_mut(&self.number).expect("a link is removed by the drop of its registration");
        let answer = look(&mut link.playback, traffic);
        let (changed, counted) = (link.playback.take_change(), before != *traffic);
        drop(state);
        if changed {
            self.changed.notify_waiters();
        }
        if counted {
            self.inner.counted.notify_waiters();
        }
        answer
    }

    /// Waits for an answer. Nothing is lost when it is dropped.
    pub(super) async fn until<T>(&self, mut answer: impl FnMut(&mut Playback) -> Option<T>) -> T {
        loop {
            let changed = self.changed();
            if let Some(answer) = self.look(|playback, _| answer(playback)) {
                return answer;
            }
            changed.await;
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        state.links.remove(&self.number);
        state.traffic.open -= 1;
        drop(state);
        self.inner.counted.notify_waiters();
    }
}
