//! What the network's cameras share: a capture thread that waits for bytes, and a stop that finds
//! it waiting.
//!
//! The libraries are asynchronous, and so each such camera's thread has a small runtime of its own,
//! which runs only while the thread waits. Whatever a peer says goes through [`plain`] before it
//! becomes part of an error.

use std::{future::Future, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use url::Position;

use super::{CameraError, TIMEOUT};
use crate::config::CameraUrl;

/// A camera must be connected to, must let us in and answer within this.
pub(super) const OPENS_WITHIN: Duration = Duration::from_secs(5);

/// The runtime of one open camera.
pub(super) struct Link {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    shown: String,
    /// The address' path up to what is not shown of it, where there is such.
    secret_behind: Option<String>,
}

impl Link {
    /// Opens a connection by what `opening` does, within [`OPENS_WITHIN`]; a stop ends it at once.
    pub fn open<T>(
        url: &CameraUrl,
        stop: &CancellationToken,
        opening: impl Future<Output = Result<T, String>>,
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
            Some(Some(Err(_))) => Err(format!(
                "no answer within {OPENS_WITHIN:?}; see whether it is on, and reached from here"
            )),
            Some(Some(Ok(opened))) => opened,
        };
        match opened {
            Ok(opened) => Ok((link, opened)),
            Err(what) => Err(link.fails(what)),
        }
    }

    /// What comes of a stream without end within [`TIMEOUT`]. Where that is not enough, `next` is
    /// dropped, and so must be one that can be begun again.
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
            Some(None) => Err(self.fails("it has ended the stream".to_owned())),
        }
    }

    /// `what` may repeat the address as the library or the camera has it.
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
    /// Does not wait for a name server that does not answer.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A text without what follows `before` in it, up to a blank or a quote.
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

/// An error with what caused it, in one line that a hostile peer cannot fill as it likes.
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

/// The first line, without control characters, and not too long.
pub(super) fn plain_text(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests;
