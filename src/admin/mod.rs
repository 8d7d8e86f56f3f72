//! The control plane's ground floor: listens, lets in whom it may, reads requests, sends replies. It
//! knows nothing of jobs; what a request means is the business of the handler that it is given.

pub mod http;
pub mod problem;
pub mod limits;
pub mod door;
pub mod listen;
mod unix;
mod socket;
mod room;
mod rebuffs;
mod crowd;
mod connection;

use std::io::{self, ErrorKind};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use self::crowd::{Crowd, Entry, Seat};
use self::door::Door;
use self::http::Handler;
use self::limits::Limits;
use self::listen::Listener;
use self::problem::Problem;
use self::rebuffs::Rebuffs;
use self::room::Room;
use self::socket::Socket;
use crate::clock;

/// Of each thread. JSON that is nested as deeply as its reader allows (127 levels) takes more than 256 KiB
/// where nothing is optimised. It is only address space: pages that were never touched cost no memory.
const STACK: usize = 1024 * 1024;
/// How long to wait when the system has no more of something, and then try again.
const BREATH: Duration = Duration::from_millis(100);
/// The same complaint is logged no more often than this.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What all connections have in common.
struct Service {
    door: Door,
    handler: Arc<Handler>,
    limits: Limits,
    /// For the replies of all listeners together.
    room: Room,
    rebuffs: Rebuffs,
}

/// What listens and answers, in threads of its own. Dropping it stops it.
pub struct Admin {
    stopped: Arc<AtomicBool>,
    open: Vec<(Arc<Listener>, Arc<Crowd>)>,
}

impl Admin {
    /// Begins to accept on the listeners, each within its own limits.
    ///
    /// # Errors
    /// The system has no thread left. Then nobody listens.
    pub fn start(
        listeners: Vec<Listener>,
        door: Door,
        handler: Arc<Handler>,
        limits: Limits,
    ) -> io::Result<Self> {
        let room = Room::new(limits.replies, limits.small_reply, limits.patience.room);
        let rebuffs = Rebuffs::default();
        let service = Arc::new(Service { door, handler, limits, room, rebuffs });
        let mut admin = Self { stopped: Arc::default(), open: Vec::new() };
        for listener in listeners {
            let (listener, crowd) = (Arc::new(listener), Crowd::new(&limits));
            admin.open.push((Arc::clone(&listener), Arc::clone(&crowd)));
            let mut porter = Porter {
                listener,
                crowd,
                service: Arc::clone(&service),
                stopped: Arc::clone(&admin.stopped),
                complained: None,
            };
            log::info!("admin: listening on {}", porter.listener.place());
            thread(&format!("admin-accept-{}", admin.open.len()), move || porter.accept())?;
        }
        Ok(admin)
    }

    /// Lets nobody in any more and ends all connections, event streams included. It waits for nothing:
    /// a thread that is in a handler ends when that returns.
    pub fn stop(&self) {
        if self.stopped.swap(true, Ordering::AcqRel) {
            return;
        }
        for (listener, crowd) in &self.open {
            listener.close();
            crowd.close();
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Stands at one listener.
struct Porter {
    listener: Arc<Listener>,
    crowd: Arc<Crowd>,
    service: Arc<Service>,
    stopped: Arc<AtomicBool>,
    complained: Option<Instant>,
}

impl Porter {
    fn accept(&mut self) {
        loop {
            let accepted = self.listener.accept();
            if self.stopped.load(Ordering::Acquire) {
                return;
            }
            match accepted {
                Ok(socket) => self.let_in(socket),
                Err(error) if is_of_one_client(&error) => {}
                Err(error) => {
                    self.complain(&format!("no connection can be accepted: {error}"));
                    thread::sleep(BREATH);
                }
            }
        }
    }

    fn let_in(&mut self, socket: Socket) {
        match self.crowd.enter(socket) {
            Entry::Thread(seat) => self.serve(seat),
            Entry::Queued | Entry::Closed => {}
            Entry::Full(socket) => {
                self.complain("all connections are in use; new ones are turned away");
                let detail = "all connections are in use; try again in a second";
                connection::turn_away(&socket, Problem::busy(detail));
            }
        }
    }

    fn serve(&mut self, seat: Seat) {
        static THREADS: AtomicU64 = AtomicU64::new(1);
        let name = format!("admin-{}", THREADS.fetch_add(1, Ordering::Relaxed));
        let service = Arc::clone(&self.service);
        let socket = Arc::clone(&seat.socket);
        let started = thread(&name, move || {
            let mut seat = Some(seat);
            while let Some(taken) = seat {
                let served = AssertUnwindSafe(|| connection::serve(&taken, &service));
                if panic::catch_unwind(served).is_err() {
                    log::error!("admin: a defect in recountd: a connection was dropped");
                }
                seat = taken.leave();
            }
        });
        if let Err(error) = started {
            self.complain(&format!("no thread for a connection: {error}"));
            connection::turn_away(&socket, Problem::busy("no thread is left for a connection"));
        }
    }

    fn complain(&mut self, text: &str) {
        let now = clock::monotonic();
        let recently = |at: Instant| now.saturating_duration_since(at) < COMPLAIN_EVERY;
        if !self.complained.is_some_and(recently) {
            self.complained = Some(now);
            log::warn!("admin: {}: {text}", self.listener.place());
        }
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(run).map(drop)
}

/// Errors that say something about one client, who has left, and nothing about the next.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Interrupted | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}
