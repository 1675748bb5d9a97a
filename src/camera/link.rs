//! The connection code that the network cameras share.
//!
//! In: a future that opens a stream, and futures that read from it. Out: their results, or an error
//! with the camera's address but without its secrets. It touches the one connection.
//!
//! The libraries are asynchronous, so each network camera's thread has a small runtime of its own.
//! The runtime runs only while the thread waits. Text from a peer goes through [`plain`] before it
//! becomes part of an error.

use std::{future::Future, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use url::{Position, Url};

use super::{CameraError, TIMEOUT};
use crate::config::CameraUrl;

/// Timeout for opening a camera: connection, login and first answer.
pub(super) const OPENS_WITHIN: Duration = Duration::from_secs(5);

/// Why a stream is not opened.
#[derive(Debug)]
pub(super) enum Unopened {
    /// The camera got the login and refused it.
    LoginRefused,
    /// The camera got the login and closed the connection.
    LoginHungUp,
    /// The camera closed the connection.
    Ended,
    Other(String),
}

impl From<String> for Unopened {
    fn from(what: String) -> Unopened {
        Unopened::Other(what)
    }
}

/// Maximum number of redirects that are followed.
pub(super) const REDIRECTS: u32 = 3;

/// What is wrong if the camera asks for a login, and the configuration has none.
pub(super) const NO_LOGIN: &str = "the camera asks for a login: give username and password in the \
                                   camera's settings, such as password = \"credential:secret_camera\"";
/// What is wrong if a login does not fit into a header, or the challenge has no answer.
pub(super) const UNANSWERABLE: &str = "the camera's login cannot be answered: correct user and \
                                       password, or set the camera to another kind of login";

/// The runtime of one open camera.
pub(super) struct Link {
    /// `None` only while the link is dropped.
    runtime: Option<Runtime>,
    /// The camera's address, without its secrets.
    shown: String,
    /// The address's path up to the secret that is not shown, if it has one.
    secret_behind: Option<String>,
}

impl Link {
    /// Runs `opening` within [`OPENS_WITHIN`]. A stop ends it at once.
    pub fn open<T>(
        url: &CameraUrl,
        stop: &CancellationToken,
        opening: impl Future<Output = Result<T, Unopened>>,
    ) -> Result<(Self, T), CameraError> {
        let shown = url.to_string();
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = Some(runtime.map_err(CameraError::Thread)?);
        let path = &url.url[Position::BeforePath..Position::AfterQuery];
        let secret_behind = path.find(['=', '?']).and_then(|at| path.get(..=at));
        let link = Self { runtime, shown, secret_behind: secret_behind.map(str::to_owned) };
        let opened = link.block_on(async {
            tokio::select! {
                biased;
                () = stop.cancelled() => None,
                opened = timeout(OPENS_WITHIN, opening) => Some(opened),
            }
        });
        let opened = match opened {
            None | Some(None) => return Err(CameraError::Stopped),
            Some(Some(Err(_))) => Err(Unopened::Other(format!(
                "no answer within {OPENS_WITHIN:?}; check that the camera is on and that this \
                 machine can reach it"
            ))),
            Some(Some(Ok(opened))) => opened,
        };
        match opened {
            Ok(opened) => Ok((link, opened)),
            Err(fault) => Err(link.fault(fault)),
        }
    }

    /// Returns the error for a fault.
    pub fn fault(&self, fault: Unopened) -> CameraError {
        let refused = |how| CameraError::LoginRefused { url: self.shown.clone(), how };
        match fault {
            Unopened::LoginRefused => refused("refuses the login"),
            Unopened::LoginHungUp => refused("closes the connection on a login"),
            Unopened::Ended => self.fails(
                "the camera closed the connection; it may serve no further viewer: close other \
                 viewers of it, or restart it"
                    .to_owned(),
            ),
            Unopened::Other(what) => self.fails(what),
        }
    }

    /// Reads the next item of a stream. Returns `None` after [`TIMEOUT`]. `next` is then dropped,
    /// so it must be safe to start it again.
    pub fn read<T, E: std::error::Error>(
        &self,
        next: impl Future<Output = Option<Result<T, E>>>,
    ) -> Result<Option<T>, CameraError> {
        match self.block_on(async { timeout(TIMEOUT, next).await.ok() }).flatten() {
            None => Ok(None),
            Some(Some(Ok(next))) => Ok(Some(next)),
            Some(Some(Err(error))) => {
                Err(self.fails(format!("the stream broke off: {}", plain(&error))))
            }
            Some(None) => Err(self.fails("the camera ended the stream".to_owned())),
        }
    }

    /// Returns the error `what`. Masks the secret, because the library or the camera may repeat the
    /// address in `what`.
    pub fn fails(&self, what: String) -> CameraError {
        let what = match &self.secret_behind {
            Some(before) => masked(&what, before),
            None => what,
        };
        CameraError::Network { url: self.shown.clone(), what }
    }

    fn block_on<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.runtime.as_ref().map(|runtime| runtime.block_on(work))
    }
}

impl Drop for Link {
    /// Closes the runtime without waiting, because a name server may not answer.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Returns the address to which an answer leads, without a login in it.
pub(super) fn led_to(from: &Url, location: Option<&str>, scheme: &str) -> Result<Url, String> {
    let to = location.and_then(|location| from.join(location).ok()).ok_or(
        "the camera leads to another address, and does not say to which; give the address of the \
         stream itself",
    )?;
    if to.scheme() != scheme || !to.has_host() {
        return Err(format!(
            "the camera leads to {}:, which this program does not read; switch encryption off in the \
             camera's settings, or give another address of its manual",
            plain_text(to.scheme())
        ));
    }
    let mut to = to;
    let _ = (to.set_username(""), to.set_password(None));
    Ok(to)
}

/// Returns a text in which the characters after each `before` are masked, up to a blank or a quote.
fn masked(text: &str, before: &str) -> String {
    let mut pieces = text.split(before);
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| c.is_whitespace() || "\"'`".contains(c));
        shown = format!(
            "{shown}{before}***{}",
            end.and_then(|end| piece.get(end..)).unwrap_or_default()
        );
    }
    shown
}

/// Returns an error and its causes in one line of limited length, because a hostile peer may have
/// written parts of it.
pub(super) fn plain(error: &dyn std::error::Error) -> String {
    let mut text = plain_text(&error.to_string());
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = plain_text(&cause.to_string());
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    plain_text(&text)
}

/// Returns the first line without control characters, at most 200 characters.
pub(super) fn plain_text(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests;
