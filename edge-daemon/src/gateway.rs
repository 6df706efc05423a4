//! The daemon put together: ports, their lines, and the writer.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};
use varve_core::{Config, Varve};

use crate::control::Control;
use crate::counters::{PortCounters, WriterCounters};
use crate::failure::Failure;
use crate::port::Port;
use crate::port_line;
use crate::serial::Serial;
use crate::store_room::StoreRoom;
use crate::store_view::cannot_open;
use crate::writer::{StoreError, Writer, WriterPort};

/// How the daemon is to run.
#[derive(Clone, Debug)]
pub(crate) struct GatewayConfig {
    /// The ports, at least one.
    pub(crate) ports: Vec<PathBuf>,
    /// Their speed.
    pub(crate) baud: u32,
    /// The directory of the store.
    pub(crate) store: PathBuf,
    /// How the store is opened.
    pub(crate) config: Config,
    /// How long the first event of a commit may wait for others.
    pub(crate) commit_window: Duration,
}

/// A daemon whose store is open, and a port of it at least.
#[derive(Debug)]
pub(crate) struct Gateway {
    runtime: Runtime,
    /// A port that is not open yet is waited for.
    ports: Vec<(Port, Option<Serial>)>,
    writer: Writer,
    /// `None` where it could not be opened, as on a full disk.
    control: Option<Control>,
    counters: GatewayCounters,
}

/// What a gateway counts.
#[derive(Clone, Debug)]
pub(crate) struct GatewayCounters {
    /// For each port, in the order of the configuration.
    pub(crate) ports: Vec<Arc<PortCounters>>,
    /// For all of them.
    pub(crate) writer: Arc<WriterCounters>,
}

impl GatewayConfig {
    /// Opens the store as its owner.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn open_store(&self) -> Result<Varve, Failure> {
        Varve::with_config(&self.store, self.config.clone()).map_err(|error| cannot_open(&self.store, &error))
    }
}

impl Gateway {
    /// Opens the store as its owner, and every port that is there.
    ///
    /// # Errors
    /// The store cannot be opened, no port is there or all are in use, or the system refuses what a daemon needs.
    pub(crate) fn open(config: &GatewayConfig) -> Result<Self, Failure> {
        let varve = Arc::new(config.open_store()?);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::of_system("no event loop", &error))?;
        let counters = GatewayCounters {
            ports: config.ports.iter().map(|_| Arc::default()).collect(),
            writer: Arc::default(),
        };
        let (lines, answers, requests) = port_line::lines(config.ports.len());
        let (mut ports, mut closed) = (Vec::new(), Vec::new());
        let mut writer_ports = Vec::new();
        let parts = lines.into_iter().zip(answers).zip(&counters.ports);
        for (path, ((line, answers), counters)) in config.ports.iter().zip(parts) {
            let serial = open_port(&runtime, path, config.baud).map_err(|failure| closed.push(failure)).ok();
            ports.push((Port::new(path.clone(), config.baud, line, counters.clone()), serial));
            writer_ports.push(WriterPort::new(answers, counters.clone()));
        }
        if closed.len() == ports.len() {
            return Err(closed.swap_remove(0));
        }
        for failure in closed {
            warn!("{failure}; waiting for it to come");
        }
        let control = open_control(&runtime, &config.store, varve.clone());
        let store_room = StoreRoom::new(&config.store, config.config.retention.clone());
        let (window, writer_counters) = (config.commit_window, counters.writer.clone());
        let writer = Writer::new(varve, store_room, requests, writer_ports, window, writer_counters);
        Ok(Self { runtime, ports, writer, control, counters })
    }

    /// What it counts while it serves.
    pub(crate) fn counters(&self) -> GatewayCounters {
        self.counters.clone()
    }

    /// Serves the ports until `stop`, or until the process is told to end; then commits what was admitted and closes
    /// the store.
    ///
    /// # Errors
    /// The store failed. The devices keep what was not acknowledged.
    pub(crate) fn serve(self, stop: impl Future<Output = ()>) -> Result<(), Failure> {
        let Self { runtime, ports, writer, control, .. } = self;
        let (ended, writer_ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("writer".into()).spawn(move || {
            let outcome = writer.run();
            // Nobody waits for a writer that ends because the ports are gone.
            let _ = ended.send(());
            outcome
        });
        let thread = thread.map_err(|error| Failure::of_system("no thread", &error))?;
        runtime.block_on(serve_all(ports, control, stop, writer_ended));
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .map_err(|error| store_failed(&error))
    }
}

async fn serve_all(
    ports: Vec<(Port, Option<Serial>)>,
    control: Option<Control>,
    stop: impl Future<Output = ()>,
    writer_ended: oneshot::Receiver<()>,
) {
    let (stopper, stopped) = watch::channel(false);
    let mut tasks: JoinSet<()> =
        ports.into_iter().map(|(port, serial)| port.serve(serial, stopped.clone())).collect();
    if let Some(control) = control {
        tasks.spawn(control.serve(stopped));
    }
    tokio::select! {
        () = stop => {}
        () = terminated() => info!("told to end; committing what was admitted"),
        _ = writer_ended => {}
    }
    stopper.send_replace(true);
    while let Some(outcome) = tasks.join_next().await {
        outcome.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    }
}

/// Waits until the process is told to end: by SIGINT or SIGTERM.
async fn terminated() {
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        // Without handlers the signals end the process by themselves, and nothing acknowledged is lost.
        _ => std::future::pending().await,
    }
}

fn open_port(runtime: &Runtime, path: &Path, baud: u32) -> Result<Serial, Failure> {
    let _entered = runtime.enter();
    Serial::open(path, baud).map_err(|error| {
        Failure::new(
            format!("port {} cannot be opened: {error}", path.display()),
            "check that it is a serial port that you may open, and that no other program has it",
        )
    })
}

fn open_control(runtime: &Runtime, store: &Path, varve: Arc<Varve>) -> Option<Control> {
    let _entered = runtime.enter();
    Control::open(store, varve)
        .inspect_err(
            |error| warn!(%error, "`varved shred` and `varved rotate-master` cannot ask this daemon"),
        )
        .ok()
}

fn store_failed(error: &StoreError) -> Failure {
    Failure::new(
        format!("the store failed: {error}"),
        "the devices keep what was not acknowledged; mend the disk and start again",
    )
}
