//! Opening the control plane: the sockets, the door and the API behind them.

use std::io;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use crate::admin::Admin;
use crate::admin::door::{Door, Token};
use crate::admin::http::Handler;
use crate::admin::limits::Limits;
use crate::admin::listen::{Address, ListenError, Listener};
use crate::api::Api;
use crate::config::{self, Config};
use crate::load;

/// Why nobody can be let in.
#[derive(Debug, Error)]
pub enum ControlError {
    /// A place of `[admin] listen` cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A token cannot be sent over HTTP.
    #[error("[admin] {0}: {1}")]
    Token(&'static str, crate::admin::door::TokenError),
    /// The system has no thread left.
    #[error("cannot start the control plane: {0}")]
    System(#[from] io::Error),
}

/// Opens every place that the file names. Where it names none, there is a Unix socket for people on this
/// machine; a daemon that may not make one goes on without it, for its first work is to recount.
///
/// # Errors
/// A place that the file names cannot be had.
pub fn open(path: &Path, config: &Config, api: Api) -> Result<Option<Admin>, ControlError> {
    let listeners = match &config.admin.listen {
        Some(places) => places.iter().map(Listener::bind).collect::<Result<_, _>>()?,
        None => match Listener::bind(&Address::Unix(load::socket(path, None))) {
            Ok(listener) => vec![listener],
            Err(error) => {
                log::warn!("no control plane: {error}; set [admin] listen");
                Vec::new()
            }
        },
    };
    if listeners.is_empty() {
        return Ok(None);
    }
    let token = token_of("token", config.admin.token.as_ref())?;
    let read_token = token_of("read_token", config.admin.read_token.as_ref())?;
    let tcp: Vec<_> = listeners.iter().filter_map(Listener::tcp_address).collect();
    let door = Door::new(token, &tcp, &config.admin.hosts).with_read_token(read_token);
    let handler: Arc<Handler> = Arc::new(move |request| api.answer(request));
    Ok(Some(Admin::start(listeners, door, handler, Limits::default())?))
}

fn token_of(
    key: &'static str,
    token: Option<&config::Token>,
) -> Result<Option<Token>, ControlError> {
    let made = token.map(|token| Token::new(token.reveal())).transpose();
    made.map_err(|error| ControlError::Token(key, error))
}
