//! The capture thread: opens a camera's source again and again, and takes its frames.
//!
//! In: an opener, and the pictures of the source that it opens. Out: frames in the slot, and the
//! camera's state. After a refused login it waits for minutes ([`Refusals`]), because many cameras
//! lock a user after a few wrong passwords.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::{
    CameraError, CameraHandle, CameraState, Frame, FrameSource, KEY_FRAME_WITHIN, Next, Picture,
    Slot, TIMEOUT, Unshown,
};
use crate::{
    clock::{Clock, Monotonic},
    config::Secret,
    supervision::{Panicked, Refusals, SECRET_EVERY},
};

/// Opens the source of a camera. Called again after each failure.
pub(super) type Opener = Box<dyn FnMut() -> Result<Box<dyn FrameSource>, CameraError> + Send>;

/// Starts the capture thread. `timeout` is `None` for a source that may pause.
pub(super) fn spawn_with(
    name: String,
    open: Opener,
    password: Option<Secret>,
    timeout: Option<Duration>,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
    slot: Arc<Slot>,
) -> Result<CameraHandle, CameraError> {
    let since = clock.monotonic();
    let (state, receiver) =
        watch::channel(CameraState { name: name.clone(), since, ..CameraState::default() });
    let thread_name = format!("camera {name}");
    let mut capture = Capture { name, open, password, timeout, clock, cancel, slot, state };
    let thread = std::thread::Builder::new()
        .name(thread_name)
        .spawn(move || capture.run())
        .map_err(CameraError::Thread)?;
    Ok(CameraHandle { state: receiver, thread })
}

/// Interval between attempts to open a source. It doubles from the first value to the last.
const BACKOFF: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(200)..=Duration::from_secs(5);

struct Capture {
    name: String,
    open: Opener,
    /// The password of a network camera.
    password: Option<Secret>,
    /// Timeout after which a source without a frame has failed. `None`: the source may pause.
    timeout: Option<Duration>,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
    slot: Arc<Slot>,
    state: watch::Sender<CameraState>,
}

impl Capture {
    fn run(&mut self) {
        let mut pause = *BACKOFF.start();
        let mut refusals = Refusals::default();
        while !self.cancel.is_cancelled() {
            let (before, begun) = (self.state.borrow().frames, self.clock.monotonic());
            let tried = self.password();
            // After a panic only the source is lost, and unwinding has dropped it. The counters and
            // the slot are still consistent.
            let played = catch_unwind(AssertUnwindSafe(|| self.play()));
            match played.unwrap_or_else(|panic| Err(Panicked::of(&*panic).into())) {
                Ok(()) => break,
                Err(_) if self.cancel.is_cancelled() => break,
                Err(error) => {
                    self.down(&error);
                    if matches!(error, CameraError::LoginRefused { .. }) {
                        if self.rest_after_refusal(refusals.refused(), tried.as_ref()) {
                            refusals.over();
                        }
                        continue;
                    }
                }
            }
            // A source that fails after each first frame keeps the longer pause. Otherwise it would
            // be opened five times a second.
            let lasted = self.clock.monotonic() - begun;
            if self.state.borrow().frames > before && lasted > *BACKOFF.end() {
                pause = *BACKOFF.start();
                refusals.over();
            }
            self.rest(pause);
            pause = (pause * 2).min(*BACKOFF.end());
        }
        let now = self.clock.monotonic();
        self.state.send_modify(|s| s.turn(false, now));
        self.slot.wake();
    }

    /// Opens the source and takes its frames, until it ends, fails, or it is time to stop.
    fn play(&mut self) -> Result<(), CameraError> {
        let mut source = (self.open)()?;
        // A replay counts as connected now, any other source only at its first frame.
        if self.timeout.is_none() {
            self.up();
        }
        let mut fed = self.clock.monotonic();
        // When the camera last sent a picture that cannot be shown, and why.
        let mut unshown = None;
        let skipped_before = self.state.borrow().skipped;
        while !self.cancel.is_cancelled() {
            let next = source.next();
            let skipped = skipped_before + source.skipped();
            if self.state.borrow().skipped != skipped {
                self.state.send_modify(|s| s.skipped = skipped);
            }
            match next? {
                Next::Image(picture) => {
                    self.put(picture);
                    (fed, unshown) = (self.clock.monotonic(), None);
                }
                Next::Waiting => {}
                Next::Unshown(why) => unshown = Some((self.clock.monotonic(), why)),
                Next::End => {
                    self.state.send_modify(|s| s.finished = true);
                    info!(camera = self.name, "replay over");
                    break;
                }
            }
            self.check(fed, unshown)?;
        }
        Ok(())
    }

    /// Returns an error if the source has failed: it gave its last picture at `fed`. A camera whose
    /// pictures wait for a key frame gets more time, because it would begin from the start again.
    fn check(
        &self,
        fed: Monotonic,
        unshown: Option<(Monotonic, Unshown)>,
    ) -> Result<(), CameraError> {
        let Some(timeout) = self.timeout else { return Ok(()) };
        let now = self.clock.monotonic();
        let why = unshown.filter(|(heard, _)| now - *heard <= timeout).map(|(_, why)| why);
        // It is told a little before the timeout, so that `status` never calls the camera silent.
        if why == Some(Unshown::NoKeyFrame) && now - fed > timeout * 5 / 6 {
            self.state.send_if_modified(|s| s.no_key_frame_since.replace(fed) != Some(fed));
        }
        match why {
            _ if now - fed <= timeout => Ok(()),
            Some(Unshown::NoKeyFrame) if now - fed <= KEY_FRAME_WITHIN => Ok(()),
            Some(Unshown::NoKeyFrame) => Err(CameraError::NoKeyFrame(now - fed)),
            Some(Unshown::Undecodable) => Err(CameraError::Undecodable(timeout)),
            None => Err(CameraError::Stalled(timeout)),
        }
    }

    fn put(&mut self, picture: Picture) {
        if !self.state.borrow().connected {
            self.up();
        }
        let captured = self.clock.monotonic();
        let seq = self.state.borrow().frames;
        self.slot.put(Frame { seq, captured, pause: Duration::ZERO, picture });
        self.state.send_modify(|s| {
            s.frames += 1;
            s.no_key_frame_since = None;
            s.last_frame = Some(captured);
            s.dropped = self.slot.dropped();
        });
    }

    fn up(&self) {
        let now = self.clock.monotonic();
        self.state.send_modify(|s| s.turn(true, now));
        info!(camera = self.name, "camera open");
    }

    fn down(&self, error: &CameraError) {
        let (now, error) = (self.clock.monotonic(), error.to_string());
        let mut is_news = false;
        self.state.send_modify(|s| {
            // An error that repeats at each attempt is logged once.
            is_news = s.connected || s.last_error.as_ref() != Some(&error);
            s.turn(false, now);
            s.errors += 1;
            s.no_key_frame_since = None;
            s.last_error = Some(error.clone());
        });
        if is_news {
            warn!(camera = self.name, error, "camera down");
        }
    }

    /// Returns the present password, if there is one and it can be read.
    fn password(&self) -> Option<Zeroizing<String>> {
        self.password.as_ref().and_then(|password| password.read().ok())
    }

    /// Waits after a refused login, and shows the time of the next try. Ends early, with `true`, if
    /// the password has changed.
    fn rest_after_refusal(&self, pause: Duration, tried: Option<&Zeroizing<String>>) -> bool {
        let until = self.clock.monotonic() + pause;
        self.state.send_modify(|s| s.next_try = Some(until));
        let mut changed = false;
        while !changed && !self.cancel.is_cancelled() && self.clock.monotonic() < until {
            self.rest(SECRET_EVERY.min(until - self.clock.monotonic()));
            changed = self.password().as_ref() != tried;
        }
        self.state.send_modify(|s| s.next_try = None);
        changed
    }

    /// Waits in short pieces, so that a stop is seen in time.
    fn rest(&self, mut left: Duration) {
        while !left.is_zero() && !self.cancel.is_cancelled() {
            let piece = left.min(TIMEOUT);
            std::thread::sleep(piece);
            left -= piece;
        }
    }
}
