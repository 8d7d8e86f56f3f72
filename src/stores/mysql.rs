//! MySQL: streams the rows of one query out of a read-only snapshot (R1, R8).
//!
//! A connection lives in a thread of its own. The run's thread takes the rows from a bounded
//! channel, so that it can look at its deadline, and go on watching counters, while MySQL works.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use ::mysql::prelude::Queryable;
use ::mysql::{Conn, Params, Value};

use self::connect::connect;
use super::CONNECT_TIMEOUT;
use crate::config::Server;
use crate::reconcile::{Cell, Id};

mod connect;
mod error;
mod rows;

pub use connect::check_url;
pub use error::{MysqlError, MysqlErrorKind};
pub use rows::Rows;

/// Rows in one message of the channel; large enough that the channel costs nothing.
const BATCH: usize = 500;
/// Messages that may wait in the channel: the bound on what is in memory.
const BATCHES: usize = 8;
/// How long killing a query may take; a cancelled run's thread is free within 2 s (S10).
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// What to read: the job's query, whole or for a few ids only.
#[derive(Debug, Clone)]
pub struct Select {
    /// The query of the job.
    pub query: String,
    /// The columns to read beside the first, by name; none: the second.
    pub columns: Vec<Arc<str>>,
    /// Only the rows of these ids, `None` for all.
    pub only: Option<Narrow>,
}

/// The ids to narrow a query to (R3).
#[derive(Debug, Clone)]
pub struct Narrow {
    /// The name that the query gives its first column.
    pub column: String,
    /// The ids.
    pub ids: Vec<Id>,
}

impl Select {
    /// Most ids in one narrowed query; the protocol allows 65,535 parameters.
    pub const MAX_IDS: usize = 20_000;

    fn statement(&self) -> (String, Params) {
        let Some(narrow) = &self.only else {
            return (self.query.clone(), Params::Empty);
        };
        let column = narrow.column.replace('`', "``");
        let marks = vec!["?"; narrow.ids.len()].join(",");
        // The line break ends a comment that the query may end with.
        let query = &self.query;
        let text = format!("SELECT * FROM ({query}\n) recountd_q WHERE `{column}` IN ({marks})");
        let value = |id: &Id| match id {
            Id::Number(number) => Value::UInt(*number),
            Id::Text(bytes) => Value::Bytes(bytes.to_vec()),
        };
        (text, Params::Positional(narrow.ids.iter().map(value).collect()))
    }
}

/// What a running query says next.
#[derive(Debug)]
pub enum Next {
    /// The query's answer begins; this is the name of its first column. The snapshot lies between
    /// the order and this message: all tables are open and locked by then, so that this holds for
    /// engines without snapshots (MyISAM, MEMORY) as well.
    Columns(String),
    /// Some rows.
    Rows(Rows),
    /// The end, without an error.
    End,
    /// Nothing within the time given.
    Nothing,
}

enum Message {
    Connected(u32),
    Next(Next),
    Failed(MysqlErrorKind),
}

/// A connection, idle or with one query running.
pub struct Session {
    server: Arc<Server>,
    orders: SyncSender<Select>,
    messages: Receiver<Message>,
    connection_id: u32,
    running: bool,
}

impl Session {
    /// Connects. `silence` is how long the server may be silent during a query.
    ///
    /// # Errors
    /// The server cannot be reached or does not let us in; after [`CONNECT_TIMEOUT`] at the latest.
    pub fn open(server: &Arc<Server>, silence: Duration) -> Result<Self, MysqlError> {
        let (orders, inbox) = mpsc::sync_channel(1);
        let (outbox, messages) = mpsc::sync_channel(BATCHES);
        let spawned = thread::Builder::new().name("mysql".to_owned()).spawn({
            let server = Arc::clone(server);
            move || serve(&server, silence.max(CONNECT_TIMEOUT), &inbox, &outbox)
        });
        if let Err(error) = spawned {
            return Err(MysqlError::new(server, MysqlErrorKind::Thread(error.to_string())));
        }
        // A name that takes long to look up, or a server that never says a word, is given up here;
        // the thread ends by itself soon after.
        let connection_id = match messages.recv_timeout(CONNECT_TIMEOUT) {
            Ok(Message::Connected(id)) => id,
            Ok(Message::Failed(kind)) => return Err(MysqlError::new(server, kind)),
            Ok(Message::Next(_)) | Err(_) => {
                return Err(MysqlError::new(server, MysqlErrorKind::NoAnswer));
            }
        };
        let server = Arc::clone(server);
        Ok(Self { server, orders, messages, connection_id, running: false })
    }

    /// Begins a query in a new snapshot; its answer comes from [`Session::next`].
    ///
    /// # Errors
    /// The connection has ended.
    pub fn start(&mut self, select: Select) -> Result<(), MysqlError> {
        self.running = true;
        self.orders.send(select).map_err(|_| self.lost())
    }

    /// What the running query says next, waiting no longer than `wait`.
    ///
    /// # Errors
    /// The query failed, however late: a result that ends with an error is no result (R8).
    pub fn next(&mut self, wait: Duration) -> Result<Next, MysqlError> {
        match self.messages.recv_timeout(wait) {
            Ok(Message::Next(Next::End)) => {
                self.running = false;
                Ok(Next::End)
            }
            Ok(Message::Next(next)) => Ok(next),
            Ok(Message::Failed(kind)) => {
                self.running = false;
                Err(MysqlError::new(&self.server, kind))
            }
            Err(RecvTimeoutError::Timeout) => Ok(Next::Nothing),
            Ok(Message::Connected(_)) | Err(RecvTimeoutError::Disconnected) => {
                self.running = false;
                Err(self.lost())
            }
        }
    }

    fn lost(&self) -> MysqlError {
        MysqlError::new(&self.server, MysqlErrorKind::Lost("the connection has ended".to_owned()))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.running {
            return;
        }
        // Without the kill, dropping a result reads all the rest of it, and the server goes on
        // working for nobody (18 s were measured). The connection is killed and not only its
        // query, which might not have begun yet. All in a thread, for the server may be mute.
        let (server, id) = (Arc::clone(&self.server), self.connection_id);
        let (answer, killed) = mpsc::sync_channel(1);
        let kill = move || {
            let ended = connect(&server, CONNECT_TIMEOUT).and_then(|mut second| {
                second.query_drop(format!("KILL {id}")).map_err(MysqlErrorKind::from)
            });
            answer.send(ended.map_err(|kind| MysqlError::new(&server, kind))).ok();
        };
        let spawned = thread::Builder::new().name("mysql-kill".to_owned()).spawn(kill);
        match spawned.map(|_| killed.recv_timeout(KILL_TIMEOUT)) {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => log::warn!("a cancelled query may still run: {error}"),
            Ok(Err(_)) | Err(_) => {
                log::warn!("a cancelled query may still run on MySQL {}", self.server.name);
            }
        }
    }
}

/// Connects and asks for the version (`check --connect`).
///
/// # Errors
/// The server cannot be reached or does not let us in.
pub fn version(server: &Arc<Server>) -> Result<String, MysqlError> {
    let mut session = Session::open(server, CONNECT_TIMEOUT)?;
    session.start(Select {
        query: "SELECT VERSION(), 0".to_owned(),
        columns: Vec::new(),
        only: None,
    })?;
    let mut version = String::new();
    loop {
        match session.next(CONNECT_TIMEOUT)? {
            Next::End => return Ok(version),
            Next::Nothing => return Err(MysqlError::new(server, MysqlErrorKind::NoAnswer)),
            Next::Rows(rows) => {
                if let Some((Cell::Bytes(text), _)) = rows.iter().next() {
                    version = String::from_utf8_lossy(text).into_owned();
                }
            }
            Next::Columns(_) => {}
        }
    }
}

/// The life of a connection: connect, then one query after the other, until an error or until
/// nobody listens. After any error the connection is dropped: the next answer could be the last
/// question's.
fn serve(server: &Server, silence: Duration, orders: &Receiver<Select>, out: &SyncSender<Message>) {
    let mut conn = match connect(server, silence) {
        Ok(conn) => conn,
        Err(kind) => {
            out.send(Message::Failed(kind)).ok();
            return;
        }
    };
    if out.send(Message::Connected(conn.connection_id())).is_err() {
        return;
    }
    while let Ok(select) = orders.recv() {
        match answer(&mut conn, &select, out) {
            Ok(()) => {}
            Err(Ended::Nobody) => return,
            Err(Ended::Failed(kind)) => {
                out.send(Message::Failed(kind)).ok();
                return;
            }
        }
    }
}

enum Ended {
    Nobody,
    Failed(MysqlErrorKind),
}

impl From<::mysql::Error> for Ended {
    fn from(error: ::mysql::Error) -> Self {
        Self::Failed(MysqlErrorKind::from(error))
    }
}

fn answer(conn: &mut Conn, select: &Select, out: &SyncSender<Message>) -> Result<(), Ended> {
    let send = |next| out.send(Message::Next(next)).map_err(|_| Ended::Nobody);
    // The server's default may be READ COMMITTED, where each statement has a snapshot of its own.
    conn.query_drop("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")?;
    conn.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")?;
    let (text, params) = select.statement();
    // Only prepared, a statement has done nothing yet. MariaDB lets DROP TABLE through in a READ
    // ONLY transaction, so whatever has no columns to return must not be executed at all.
    let statement = conn.prep(text)?;
    let names: Vec<String> =
        statement.columns().iter().map(|column| column.name_str().into_owned()).collect();
    let places = places(&names, &select.columns).map_err(Ended::Failed)?;
    let mut result = conn.exec_iter(&statement, params)?;
    send(Next::Columns(names.into_iter().next().unwrap_or_default()))?;
    let batch = || Rows::with_capacity(BATCH, places.len());
    let mut rows = batch();
    for row in result.by_ref() {
        let row = row?;
        // Two targets may be fed by one column, so nothing is taken out of the row.
        let place = |place: &usize| row.as_ref(*place).map_or(Cell::Null, cell);
        rows.push(std::iter::once(&0).chain(&places).map(place));
        if rows.len() == BATCH {
            send(Next::Rows(std::mem::replace(&mut rows, batch())))?;
        }
    }
    drop(result);
    conn.close(statement)?;
    conn.query_drop("ROLLBACK")?;
    send(Next::Rows(rows))?;
    send(Next::End)
}

/// Where in a row the wanted columns stand. MySQL compares their names without regard to case.
fn places(names: &[String], wanted: &[Arc<str>]) -> Result<Vec<usize>, MysqlErrorKind> {
    match names.len() {
        0 => return Err(MysqlErrorKind::NoResult),
        1 => return Err(MysqlErrorKind::OneColumn),
        _ if wanted.is_empty() => return Ok(vec![1]),
        _ => {}
    }
    let place = |wanted: &Arc<str>| {
        names.iter().position(|name| name.eq_ignore_ascii_case(wanted)).ok_or_else(|| {
            MysqlErrorKind::NoColumn { name: wanted.to_string(), known: names.join(", ") }
        })
    };
    wanted.iter().map(place).collect()
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::NULL => Cell::Null,
        Value::Int(number) => Cell::Int(*number),
        Value::UInt(number) => Cell::UInt(*number),
        Value::Float(number) => Cell::Float(f64::from(*number)),
        Value::Double(number) => Cell::Float(*number),
        Value::Bytes(bytes) => Cell::Bytes(bytes.clone()),
        other @ (Value::Date(..) | Value::Time(..)) => {
            Cell::Time(other.as_sql(true).trim_matches('\'').to_owned())
        }
    }
}
