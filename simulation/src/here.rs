//! A running machine as it is seen by what runs on it: who it is, what it serves, its power.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rookery_proto::{Protocol, Service};
use rookery_replication::store::MemoryDisk;
use tokio::io::DuplexStream;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::run::Run;

/// Takes connections of mail clients.
type Listener = Arc<dyn Fn(DuplexStream) + Send + Sync>;

/// Bytes that a connection of a mail client holds on their way, each way.
const CONNECTION_BYTES: usize = 64 * 1024;

/// What answers calls, by protocol.
type Services = HashMap<&'static str, Box<dyn Any + Send + Sync>>;

/// One life of a machine, from its start to its end.
#[derive(Clone)]
pub struct Here {
    /// The run.
    pub run: Arc<Run>,
    /// The machine's name, which is its address as well.
    pub name: Arc<str>,
    /// Its runtime.
    pub runtime: Handle,
    disk: Arc<MemoryDisk>,
    /// Messages that it may still send; the power goes with the last one.
    messages: Arc<AtomicU64>,
    services: Arc<Mutex<Services>>,
    listeners: Arc<Mutex<HashMap<&'static str, Listener>>>,
    /// Calls of others that are under way here.
    pub calls: TaskTracker,
    /// Told when the machine is to stop in good order.
    pub stop: CancellationToken,
    /// Told when it has.
    pub ended: CancellationToken,
}

impl Here {
    pub(crate) fn new(run: Arc<Run>, name: &str, runtime: Handle, disk: Arc<MemoryDisk>) -> Self {
        Self {
            run,
            name: name.into(),
            runtime,
            disk,
            messages: Arc::new(AtomicU64::new(u64::MAX)),
            services: Arc::default(),
            listeners: Arc::default(),
            calls: TaskTracker::new(),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
        }
    }

    /// Whether its power was cut: nothing that it does is seen by anybody any more.
    pub fn is_dark(&self) -> bool {
        self.disk.is_cut()
    }

    /// The power goes after so many more messages.
    pub fn cut_power_after_messages(&self, messages: u64) {
        self.messages.store(messages, Ordering::Relaxed);
    }

    /// A message is about to leave; false when the power has gone.
    pub(crate) fn sends(&self) -> bool {
        if self.messages.load(Ordering::Relaxed) == 0 {
            self.disk.cut_power_after(0);
        }
        if self.is_dark() {
            return false;
        }
        self.messages.fetch_sub(1, Ordering::Relaxed);
        true
    }

    /// From now on calls of the protocol are answered.
    pub fn serve<P: Protocol>(&self, service: Arc<dyn Service<P>>) {
        self.services.lock().insert(P::NAME, Box::new(service));
    }

    /// From now on connections of mail clients are taken, by the protocol's name.
    pub fn listen(&self, protocol: &'static str, listener: impl Fn(DuplexStream) + Send + Sync + 'static) {
        self.listeners.lock().insert(protocol, Arc::new(listener));
    }

    /// Takes no more calls and connections.
    pub fn serve_nothing(&self) {
        self.services.lock().clear();
        self.listeners.lock().clear();
    }

    /// Connects to another machine as a mail client; nothing when nobody listens there.
    pub fn connect(&self, machine: &str, protocol: &str) -> Option<DuplexStream> {
        let there = self.run.network.lock().machine(machine).cloned()?;
        let listener = there.listeners.lock().get(protocol).cloned()?;
        let (near, far) = tokio::io::duplex(CONNECTION_BYTES);
        there.runtime.spawn(async move { listener(far) });
        Some(near)
    }

    pub(crate) fn service<P: Protocol>(&self) -> Option<Arc<dyn Service<P>>> {
        let services = self.services.lock();
        services
            .get(P::NAME)?
            .downcast_ref::<Arc<dyn Service<P>>>()
            .cloned()
    }

    /// Something happened on this machine.
    pub fn trace(&self, event: &str) {
        self.run.trace(&format!("{} {event}", self.name));
    }
}
