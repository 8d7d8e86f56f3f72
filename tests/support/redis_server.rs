//! Private Redis servers.

use std::time::Duration;

use redis::Connection;

use super::guardian::{Answer, Guardian, PortTaken, free_port, on_a_free_port};

/// Nothing is written to disk unless the caller's arguments, which come last and so win, ask for it.
const DEFINITIONS: &str = r#"
prepare() { :; }

serve() {
    port=$1
    shift
    exec redis-server --bind 127.0.0.1 --port "$port" --dir "$folder" --save '' --appendonly no "$@"
}
"#;

/// Reads time out after this long, so that a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// A Redis server of this process alone.
pub struct Redis {
    guardian: Guardian,
    port: u16,
    password: Option<String>,
}

impl Redis {
    /// Starts an empty server that ends with the returned value; some tens of milliseconds.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further arguments, such as `["--requirepass", "secret"]` or `["--appendonly", "yes"]`.
    pub fn start_with(arguments: &[&str]) -> Self {
        on_a_free_port(|port| Self::start_on(port, arguments))
    }

    /// Starts a server that speaks TLS on a second port, which is returned as well; what the tests themselves ask
    /// goes over the first.
    pub fn start_with_tls(arguments: &[&str]) -> (Self, u16) {
        on_a_free_port(|port| {
            let second = free_port();
            let tls_port = second.to_string();
            let all = [arguments, &["--tls-port", &tls_port]].concat();
            Self::start_on(port, &all).map(|server| (server, second))
        })
    }

    fn start_on(port: u16, arguments: &[&str]) -> Result<Self, PortTaken> {
        let mut all = vec![port.to_string()];
        all.extend(arguments.iter().map(ToString::to_string));
        let password = arguments
            .windows(2)
            .find(|pair| pair[0] == "--requirepass")
            .map(|pair| pair[1].to_owned());
        let guardian = Guardian::new(DEFINITIONS, &all);
        guardian.order("start");
        let server = Self { guardian, port, password };
        server.guardian.await_server(|| server.look())?;
        Ok(server)
    }

    /// Asks whoever listens on the port which folder it works in: only ours has ours.
    fn look(&self) -> Answer {
        let Ok(mut connection) = try_connect(&self.url()) else {
            return Answer::Nothing;
        };
        let reply: redis::RedisResult<(String, String)> =
            redis::cmd("CONFIG").arg("GET").arg("dir").query(&mut connection);
        match reply {
            // It tells its folder also while it still loads its data; PING is answered only afterwards.
            Ok((_, folder)) if folder == self.guardian.folder().to_string_lossy() => {
                match redis::cmd("PING").exec(&mut connection) {
                    Ok(()) => Answer::Ours,
                    Err(_) => Answer::Nothing,
                }
            }
            Ok(_) => Answer::Foreign,
            // A foreign server that refuses shows in the log of our own, which could not bind the port.
            Err(_) => Answer::Nothing,
        }
    }

    /// The URL of database 0, with the password if `--requirepass` set one.
    pub fn url(&self) -> String {
        let login = match &self.password {
            Some(password) => format!(":{password}@"),
            None => String::new(),
        };
        format!("redis://{login}127.0.0.1:{}/0", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A new connection.
    pub fn connection(&self) -> Connection {
        connect(&self.url())
    }

    /// Kills the server now, with SIGKILL: connections break and the data is gone. [`Self::restart`] brings it back.
    pub fn kill(&self) {
        self.guardian.order("kill");
    }

    /// Starts a killed server again and does not wait until it has loaded its data and answers.
    pub fn begin_restart(&self) {
        self.guardian.order("start");
    }

    /// Stops the server's process where it stands (SIGSTOP): connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.guardian.order("freeze");
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.guardian.order("thaw");
    }

    /// Kills the server if it runs, and starts it again on the same folder and port; empty, unless it was started
    /// with `--appendonly yes`.
    pub fn restart(&mut self) {
        self.guardian.restart(|| self.look());
    }

    /// The server's folder, which goes away with it.
    pub fn folder(&self) -> &std::path::Path {
        self.guardian.folder()
    }
}

/// A connection with time-outs.
pub fn connect(url: &str) -> Connection {
    try_connect(url).expect("Redis answers")
}

/// As [`connect`], for those who outlive a server that goes away.
pub fn try_connect(url: &str) -> redis::RedisResult<Connection> {
    let connection = redis::Client::open(url)?.get_connection_with_timeout(PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    Ok(connection)
}
