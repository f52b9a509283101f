//! What a proxy, its connections and those who wait for them share.
//!
//! One short lock for all of it, under which the bytes are written, too (no write waits): so a fault on all connections
//! is one moment, nothing passes once it is fin_sent, and who has received a byte finds it counted.

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
    /// Something was counted.
    counted: Notify,
    /// The listener was opened again.
    reopened: Notify,
}

pub(super) struct ProxyState {
    pub(super) listener: Listener,
    pub(super) plan: Plan,
    /// Those that are open, by number.
    links: BTreeMap<usize, Link>,
    pub(super) traffic: Traffic,
}

struct Link {
    playback: Playback,
    news: Arc<Notify>,
}

/// The place of one connection among the others. Whoever holds it has the sockets, and drops them first.
pub(super) struct Registration {
    inner: Arc<Inner>,
    number: usize,
    news: Arc<Notify>,
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

    /// Until the condition holds for what is counted.
    ///
    /// Dropped while it waits, it leaves nothing behind.
    pub(super) async fn until(&self, mut condition: impl FnMut(&Traffic) -> bool) -> Traffic {
        loop {
            // Before the look, or what is counted between the two would be missed.
            let counted = self.counted.notified();
            let traffic = self.lock().traffic;
            if condition(&traffic) {
                return traffic;
            }
            counted.await;
        }
    }

    /// The next connection, which is counted, and has its script.
    ///
    /// Dropped while it waits, it has taken none.
    pub(super) async fn accept(self: &Arc<Self>) -> io::Result<(Registration, TcpStream)> {
        let stream = loop {
            let reopened = self.reopened.notified();
            select! {
                accepted = poll_fn(|cx| self.lock().listener.poll_accept(cx)) => break accepted?,
                () = reopened => {}
            }
        };
        Ok((self.enter(), stream))
    }

    fn enter(self: &Arc<Self>) -> Registration {
        let news = Arc::new(Notify::new());
        let mut state = self.lock();
        let number = state.traffic.accepted;
        let mut playback = Playback::default();
        playback.play(state.plan.take(number));
        state.links.insert(number, Link { playback, news: Arc::clone(&news) });
        state.traffic.accepted += 1;
        state.traffic.open += 1;
        drop(state);
        self.counted.notify_waiters();
        Registration { inner: Arc::clone(self), number, news }
    }

    /// Opens the listener again.
    pub(super) fn reopen(&self) -> io::Result<()> {
        self.lock().listener.reopen(self.addr)?;
        self.reopened.notify_waiters();
        Ok(())
    }
}

impl ProxyState {
    /// Those of the open connections play the script. Who has to hear of it is the answer, for when the lock is gone.
    pub(super) fn play(&mut self, those: impl Fn(usize) -> bool, script: &Script) -> Vec<Arc<Notify>> {
        let links = self.links.iter_mut().filter(|(number, _)| those(**number));
        links
            .map(|(_, link)| {
                link.playback.play(script.clone());
                Arc::clone(&link.news)
            })
            .collect()
    }
}

impl Registration {
    pub(super) fn upstream(&self) -> &[SocketAddr] {
        &self.inner.upstream
    }

    /// Wakes when there is news: make it before the look that finds none.
    pub(super) fn news(&self) -> impl Future<Output = ()> + '_ {
        self.news.notified()
    }

    /// Looks, and perhaps does something. Others hear of it when the lock is gone.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut Playback, &mut Traffic) -> T) -> T {
        let mut state = self.inner.lock();
        let ProxyState { links, traffic, .. } = &mut *state;
        let before = *traffic;
        let link = links.get_mut(&self.number).expect("it leaves with its registration");
        let answer = look(&mut link.playback, traffic);
        let (news, counted) = (link.playback.take_news(), before != *traffic);
        drop(state);
        if news {
            self.news.notify_waiters();
        }
        if counted {
            self.inner.counted.notify_waiters();
        }
        answer
    }

    /// Until there is an answer. Dropped while it waits, it leaves nothing behind.
    pub(super) async fn until<T>(&self, mut answer: impl FnMut(&mut Playback) -> Option<T>) -> T {
        loop {
            let news = self.news();
            if let Some(answer) = self.look(|playback, _| answer(playback)) {
                return answer;
            }
            news.await;
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
