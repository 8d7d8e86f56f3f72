//! Private MariaDB servers.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder};

use super::guardian::{Answer, Guardian, PortTaken, on_a_free_port};

/// Small and fast rather than durable: nothing waits for the disk, on which several seconds could go. The log is still
/// handed to the system at each commit (2), so that what was committed is there when a test kills and restarts the
/// server; it is only not safe from a power failure. `--user` is needed as root and refused
/// otherwise. Temporary tables stay in the server's own folder, because a starting server removes all those that it
/// finds, also the ones that another server or mariadb-install-db has just made in /tmp. The caller's arguments come
/// last and so win.
const DEFINITIONS: &str = r#"
no_sync='--debug-no-sync --innodb-flush-method=nosync'
as_root=
[ "$(id -u)" != 0 ] || as_root=--user=root

prepare() {
    TMPDIR=$folder mariadb-install-db --no-defaults $as_root $no_sync --datadir="$folder/data" \
        --auth-root-authentication-method=normal --skip-test-db --innodb-log-file-size=8M
}

serve() {
    port=$1
    shift
    exec mariadbd --no-defaults $as_root $no_sync --datadir="$folder/data" --socket="$folder/socket" \
        --pid-file="$folder/pid" --tmpdir="$folder" --bind-address=127.0.0.1 --port="$port" --skip-name-resolve \
        --max-connections=200 --skip-log-bin --performance-schema=0 --innodb-buffer-pool-size=64M \
        --innodb-log-file-size=8M --innodb-flush-log-at-trx-commit=2 --innodb-use-native-aio=0 "$@"
}
"#;

/// A MariaDB server of this process alone.
pub struct Mariadb {
    guardian: Guardian,
    port: u16,
}

impl Mariadb {
    /// Starts a server that ends with the returned value; about a second.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further arguments, such as `["--innodb-buffer-pool-size=1G"]`.
    pub fn start_with(arguments: &[&str]) -> Self {
        on_a_free_port(|port| Self::start_on(port, arguments))
    }

    /// The one server that tests of a process share, each in a database of its own. It is started on first use and
    /// ends with the process. Do not kill it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Mariadb> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start_on(port: u16, arguments: &[&str]) -> Result<Self, PortTaken> {
        let mut all = vec![port.to_string()];
        all.extend(arguments.iter().map(ToString::to_string));
        let guardian = Guardian::new(DEFINITIONS, &all);
        guardian.order("prepare");
        guardian.order("start");
        let server = Self { guardian, port };
        server.guardian.await_server(|| server.look())?;
        Ok(server)
    }

    /// Asks whoever listens on the port which folder it serves: only ours has ours.
    fn look(&self) -> Answer {
        let Ok(mut conn) = Conn::new(options(&self.url(""))) else {
            return Answer::Nothing;
        };
        let ours = self.guardian.folder().join("data");
        match conn.query_first::<String, _>("SELECT @@datadir") {
            Ok(Some(folder)) if folder.trim_end_matches('/') == ours.to_string_lossy() => {
                Answer::Ours
            }
            Ok(_) => Answer::Foreign,
            Err(_) => Answer::Nothing,
        }
    }

    /// The URL of a database on this server, without a password; with an empty name, of the server.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://root@127.0.0.1:{}/{database}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection that has no database selected.
    pub fn conn(&self) -> Conn {
        connect(&self.url(""))
    }

    /// A fresh, empty database under a name that nobody else in this process uses.
    pub fn create_database(&self) -> Database {
        static CREATED: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", CREATED.fetch_add(1, Ordering::Relaxed));
        self.conn()
            .query_drop(format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"))
            .expect("the database is created");
        let url = self.url(&name);
        Database { name, url }
    }

    /// Kills the server now, with SIGKILL; connections break. [`Self::restart`] brings it back.
    pub fn kill(&self) {
        self.guardian.order("kill");
    }

    /// Stops the server's process where it stands (SIGSTOP): connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.guardian.order("freeze");
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.guardian.order("thaw");
    }

    /// Kills the server if it runs, and starts it again on the same folder and port.
    pub fn restart(&mut self) {
        self.guardian.restart(|| self.look());
    }

    /// The server's folder, which goes away with it.
    pub fn folder(&self) -> &std::path::Path {
        self.guardian.folder()
    }
}

/// A database of its own for one test. It goes away with its server.
#[derive(Clone, Debug)]
pub struct Database {
    name: String,
    url: String,
}

impl Database {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A connection to this database.
    pub fn conn(&self) -> Conn {
        connect(&self.url)
    }
}

/// Connects over TCP. Reads time out after a minute, so that a test fails instead of hanging.
pub fn connect(url: &str) -> Conn {
    try_connect(url).expect("MariaDB answers")
}

/// As [`connect`], for those who outlive a server that goes away.
pub fn try_connect(url: &str) -> mysql::Result<Conn> {
    Conn::new(options(url))
}

fn options(url: &str) -> OptsBuilder {
    OptsBuilder::from_opts(Opts::from_url(url).expect("a MySQL URL"))
        .prefer_socket(false)
        .tcp_connect_timeout(Some(Duration::from_secs(10)))
        .read_timeout(Some(Duration::from_secs(60)))
        .write_timeout(Some(Duration::from_secs(60)))
}
