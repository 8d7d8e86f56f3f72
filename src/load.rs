//! Reads jobs.toml and what it needs from outside: the environment, credentials, the zone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs, io, path};

use chrono_tz::Tz;
use thiserror::Error;

use crate::config::{self, Config, ConfigErrors, Server, Surroundings};
use crate::stores;

/// Where jobs.toml is looked for when nobody says: here, then where packages put it.
const PLACES: [&str; 2] = ["jobs.toml", "/etc/recountd/jobs.toml"];

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum LoadError {
    /// No file was named and there is none where one is looked for.
    #[error("there is no jobs.toml here and no /etc/recountd/jobs.toml; name one with -c FILE")]
    NoFile,
    /// The file cannot be read.
    #[error("{}: {error}; name another file with -c FILE", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is wrong.
    #[error(transparent)]
    Invalid(#[from] ConfigErrors),
}

/// The file to read: the named one, or the first that is there.
///
/// # Errors
/// None was named and none is there.
pub fn locate(named: Option<PathBuf>) -> Result<PathBuf, LoadError> {
    let found = || PLACES.iter().map(PathBuf::from).find(|path| path.exists());
    named.or_else(found).ok_or(LoadError::NoFile)
}

/// Reads and validates a jobs.toml.
///
/// # Errors
/// It cannot be read, or something is wrong with it.
pub fn load(path: &Path) -> Result<Config, LoadError> {
    let unreadable = |error| LoadError::Unreadable { path: path.to_owned(), error };
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let surroundings = Surroundings {
        system_zone: system_zone(),
        variable: &variable,
        credential: &credential,
        check_url: &stores::check_url,
    };
    Ok(config::parse(&path.display().to_string(), &text, &surroundings)?)
}

/// The same for a command beside the daemon: a shell has often not the token of `[admin]`, nor does such
/// a command need it. The secrets of servers it does need.
///
/// # Errors
/// As [`load`].
pub fn load_beside(path: &Path) -> Result<Config, LoadError> {
    load(path).or_else(|error| {
        let lacks = |server: &Arc<Server>| server.url.reveal().contains(INSTEAD);
        let is_enough = |config: &Config| {
            !config.mysql.values().any(lacks) && !config.redis.values().any(lacks)
        };
        without_secrets(path).filter(is_enough).ok_or(error)
    })
}

/// What stands for a secret that the environment lacks; letters that no URL writes in another way.
const INSTEAD: &str = "missinginthisenvironment";

/// The file where something else stands for the secrets that are missing; `None` if it is broken.
fn without_secrets(path: &Path) -> Option<Config> {
    let instead = |_| Ok(INSTEAD.to_owned());
    let surroundings = Surroundings {
        system_zone: system_zone(),
        variable: &|name| variable(name).or_else(instead),
        credential: &|name| credential(name).or_else(instead),
        // A certificate that only the daemon may read is no reason.
        check_url: &|_, _| Ok(()),
    };
    let text = fs::read_to_string(path).ok()?;
    config::parse(&path.display().to_string(), &text, &surroundings).ok()
}

/// Where the state is: as the file says, else in systemd's folder for it, else beside the file.
#[must_use]
pub fn state_file(jobs_toml: &Path, config: &Config) -> PathBuf {
    const NAME: &str = "recountd.db";
    let beside = || jobs_toml.parent().unwrap_or(Path::new("")).join(NAME);
    // systemd lists several folders with colons between them; the first is ours.
    let folder = env::var("STATE_DIRECTORY").ok();
    let folder =
        folder.as_deref().and_then(|list| list.split(':').next()).filter(|f| !f.is_empty());
    let default = || folder.map_or_else(beside, |folder| Path::new(folder).join(NAME));
    config.daemon.state.clone().unwrap_or_else(default)
}

/// Where the daemon of this jobs.toml listens, as the file says; `None` if it does not, or is broken.
///
/// Whoever asks this has often not the daemon's environment, nor does it matter here: something else
/// stands for the secrets that are missing.
#[must_use]
pub fn listen(jobs_toml: &Path) -> Option<Vec<String>> {
    Some(without_secrets(jobs_toml)?.admin.listen?.iter().map(ToString::to_string).collect())
}

/// Where the daemon's own socket is: the first `unix:` of `listen` in `[admin]`, else where the packaged
/// service has it, else in systemd's folder for it, else beside the file.
#[must_use]
pub fn socket(jobs_toml: &Path, listen: Option<&[String]>) -> PathBuf {
    const SYSTEMD: &str = "/run/recountd/admin.sock";
    // `jobs.toml` in /etc/recountd is the packaged one as well.
    let jobs_toml = path::absolute(jobs_toml).unwrap_or_else(|_| jobs_toml.to_owned());
    let folder = jobs_toml.parent().unwrap_or(Path::new(""));
    let named = listen.unwrap_or_default().iter().find_map(|place| place.strip_prefix("unix:"));
    if let Some(path) = named {
        return folder.join(path);
    }
    let packaged = Path::new(SYSTEMD);
    let is_packaged = jobs_toml.starts_with("/etc/recountd");
    if is_packaged || (!jobs_toml.exists() && packaged.exists()) {
        return packaged.to_owned();
    }
    // systemd lists several folders with colons between them; the first is ours.
    let runtime = env::var("RUNTIME_DIRECTORY").ok();
    let runtime = runtime.as_deref().and_then(|list| list.split(':').next());
    match runtime.filter(|folder| !folder.is_empty()) {
        Some(runtime) => Path::new(runtime).join("admin.sock"),
        None => folder.join("recountd.sock"),
    }
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| match error {
        env::VarError::NotPresent => format!("the environment variable {name} is not set"),
        env::VarError::NotUnicode(_) => format!("the environment variable {name} is not UTF-8"),
    })
}

fn credential(name: &str) -> Result<String, String> {
    let folder = variable("CREDENTIALS_DIRECTORY")?;
    if name.is_empty() || name.contains('/') {
        return Err(format!("`{name}` is not the name of a credential"));
    }
    let path = Path::new(&folder).join(name);
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("the credential {} cannot be read: {error}", path.display()))?;
    // An editor ends the file with a line break, which is no part of a password.
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The zone of `TZ`, then of the system, then UTC.
fn system_zone() -> Tz {
    let from_env = env::var("TZ").ok().and_then(|name| name.trim_start_matches(':').parse().ok());
    let system = || iana_time_zone::get_timezone().ok().and_then(|name| name.parse().ok());
    from_env.or_else(system).unwrap_or(Tz::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_daemon_listens_is_told_without_its_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobs.toml");
        let admin = r#"
            [admin]
            listen = ["127.0.0.1:7878", "unix:/a.sock"]
            token = "${credential:none}"
            [mysql.main]
            url = "mysql://a:${NO_SUCH_VARIABLE}@127.0.0.1/a"
            [redis.main]
            url = "redis://127.0.0.1"
            [jobs.a]
            cron = "@daily"
            query = "SELECT 1, 2"
            target = { zset = "a" }
        "#;
        fs::write(&file, admin).unwrap();
        assert_eq!(listen(&file).unwrap(), ["127.0.0.1:7878", "unix:/a.sock"]);
        // With the password of the server, the token is all that is missing; nobody beside the daemon needs it.
        assert!(load_beside(&file).unwrap_err().to_string().contains("NO_SUCH_VARIABLE"));
        fs::write(&file, admin.replace("${NO_SUCH_VARIABLE}", "hunter2")).unwrap();
        assert!(load(&file).unwrap_err().to_string().contains("token"));
        assert_eq!(load_beside(&file).unwrap().jobs.len(), 1);
        for text in ["", "[admin", "[admin]\nlisten = 5\n"] {
            fs::write(&file, text).unwrap();
            assert_eq!(listen(&file), None, "{text}");
        }
        assert_eq!(listen(Path::new("/nowhere/jobs.toml")), None);
    }

    #[test]
    fn the_socket_is_where_the_file_says_or_where_the_file_is() {
        let listen = |places: &[&str]| places.iter().map(|&p| p.to_owned()).collect::<Vec<_>>();
        let nowhere = Path::new("/nowhere/jobs.toml");
        let packaged = Path::new("/etc/recountd/jobs.toml");
        for (file, places, wanted) in [
            (nowhere, &["127.0.0.1:1", "unix:/a.sock", "unix:/b.sock"][..], "/a.sock"),
            (nowhere, &["unix:own.sock"], "/nowhere/own.sock"),
            (packaged, &["unix:/a.sock"], "/a.sock"),
            (packaged, &["127.0.0.1:1"], "/run/recountd/admin.sock"),
        ] {
            assert_eq!(socket(file, Some(&listen(places))), Path::new(wanted));
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobs.toml");
        fs::write(&file, "").unwrap();
        if env::var_os("RUNTIME_DIRECTORY").is_none() {
            assert_eq!(socket(&file, None), folder.path().join("recountd.sock"));
        }
    }
}
