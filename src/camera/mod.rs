//! Captures frames: one thread for each camera, and the newest frame of each camera.
//!
//! In: pictures from a [`FrameSource`]. Out: a [`Frame`] in the camera's [`Slot`], and a
//! [`CameraState`] for `gatehouse status`. A newer frame replaces the frame in the slot. A capture
//! thread may touch its one device, file, pipe or connection. It decodes only H.264, because those
//! pictures depend on each other. It stores no frame (I5).
//!
//! A source that fails or panics is opened again, with backoff and without end (I10). An open
//! source that gives no whole frame within a timeout has failed too.
//!
//! | file | what it does |
//! |---|---|
//! | `replay` | reads recorded images, or a pipe that another program fills |
//! | `v4l2` | reads a camera that is connected to this machine |
//! | `http` | reads Motion JPEG over HTTP |
//! | `rtsp`, `h264` | reads and decodes H.264 over RTSP |
//! | `chunks` | takes the frames of chunks away from an HTTP body |
//! | `link` | has the connection code that `http` and `rtsp` share |
//! | `login` | decides how to log in to a network camera |
//! | `head` | reads the heads of a network camera's messages |
//! | `relay`, `playing` | stand between an RTSP camera and the library that plays it |
//! | `dialect` | writes a camera's RTSP answers as that library reads them |
//! | `messages`, `udp` | read an RTSP camera's messages and packets |
//! | `mjpeg` | finds JPEGs in a stream of bytes |
//! | `capture` | opens a source again and again, and takes its frames |
//! | `slot` | holds the newest frame of a camera |

#![warn(missing_docs)]

mod capture;
mod chunks;
#[cfg(feature = "h264")]
mod dialect;
#[cfg(all(feature = "h264", any(test, fuzzing)))]
mod fuzz;
#[cfg(feature = "h264")]
mod h264;
mod head;
mod http;
mod link;
mod login;
#[cfg(feature = "h264")]
mod messages;
pub mod mjpeg;
#[cfg(feature = "h264")]
mod playing;
#[cfg(feature = "h264")]
mod relay;
mod replay;
#[cfg(feature = "h264")]
mod rtsp;
mod slot;
#[cfg(feature = "h264")]
mod udp;
#[cfg(target_pointer_width = "64")]
mod v4l2;

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[cfg(all(feature = "h264", any(test, fuzzing)))]
pub(crate) use self::fuzz::fuzz;
pub use self::{
    replay::Replay,
    slot::{Loan, Slot, Wakeup},
};
use crate::{
    clock::{Clock, Monotonic},
    config::{Camera, CameraSource},
    supervision::Panicked,
};

/// Maximum size of an encoded image, in bytes.
pub const MAX_IMAGE: usize = 8 * 1024 * 1024;

/// Returns the time from one frame to the next, for a source without a rate of its own.
fn period(camera: &Camera) -> Duration {
    Duration::from_secs_f32(1.0 / camera.fps)
}

/// Timeout of an open camera whose pictures come without a key frame. "Smart" codecs send a key frame
/// each 10 to 60 s.
pub const KEY_FRAME_WITHIN: Duration = Duration::from_secs(150);

/// Returns the timeout after which an open camera without a whole frame has failed.
pub fn stalled_after(camera: &Camera) -> Duration {
    (period(camera) * 3).max(Duration::from_secs(3))
}

/// One image from a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picture {
    /// JPEG or PNG, at most [`MAX_IMAGE`] bytes.
    Encoded(Arc<[u8]>),
    /// Samples without compression, from a camera or from a decoder of H.264.
    Raw(Arc<Yuv>),
}

/// An image without compression. Rows are not padded.
#[derive(Clone, PartialEq, Eq)]
pub struct Yuv {
    /// In pixels; even, and at least 2.
    pub width: u32,
    /// In pixels; even, and at least 2.
    pub height: u32,
    /// The order of the samples in `data`.
    pub layout: Layout,
    /// Video range (16 to 235), ITU-R BT.601. The layout gives the length.
    pub data: Vec<u8>,
}

/// The order of an image's samples in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All of Y, then U and V, each of half the width and height: 3/2 bytes a pixel.
    I420,
    /// Y0 U Y1 V for each two pixels of a row: 2 bytes a pixel.
    Yuyv,
}

/// Shows the size only, because a picture of a person does not belong in a log.
impl std::fmt::Debug for Yuv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Yuv({:?} {} x {})", self.layout, self.width, self.height)
    }
}

/// One frame of a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The frame's number since the daemon's start. Dropped frames count too.
    pub seq: u64,
    /// When the frame's last byte had come.
    pub captured: Monotonic,
    /// Longest time without a frame from the camera since the last frame that was taken. The
    /// [`Slot`] sets it.
    pub pause: Duration,
    /// The image.
    pub picture: Picture,
}

/// The result of [`FrameSource::next`].
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// The next image.
    Image(Picture),
    /// No image yet. Call again.
    Waiting,
    /// The camera sends pictures, and none of them can be shown yet. Call again.
    Unshown(Unshown),
    /// The end of a replay that is played once.
    End,
}

/// Why the pictures that a camera sends cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unshown {
    /// They depend on a key frame that has not come.
    NoKeyFrame,
    /// Key frames come, and cannot be decoded.
    Undecodable,
}

/// Why a source gives no frames. The capture thread opens the source again after each error.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of a variant shows its fields")]
pub enum CameraError {
    /// A file, folder or pipe of a replay cannot be read.
    #[error("cannot read {path}: {source}; check that it exists and that this user may read it")]
    Read { path: String, source: std::io::Error },
    /// The folder of a replay has no image that can be used.
    #[error("{path} holds no readable .jpg, .jpeg or .png; put images of at most 8 MiB there")]
    NoImages { path: String },
    /// The folder of a replay has more images than a replay plays.
    #[error("{path} holds more than {most} images; split it")]
    TooManyImages { path: String, most: usize },
    /// The file of a replay has no whole JPEG.
    #[error("{path} holds no whole JPEG; give a directory of images or a file of JPEGs")]
    NoFrames { path: String },
    /// Another file has the name of the file that a replay reads.
    #[error("{path} was replaced; the new file is opened next")]
    Replaced { path: String },
    /// A camera in the network refused, closed, or gave an answer that cannot be used.
    #[error("{url}: {what}")]
    Network { url: String, what: String },
    /// The camera got the login and refused it.
    #[error("{url}: the camera {how}; check user and password")]
    LoginRefused { url: String, how: &'static str },
    /// The camera is open and gave no whole frame within this timeout.
    #[error(
        "the camera is open but gave no whole frame for {0:?}; check the camera and its cable or \
         network"
    )]
    Stalled(Duration),
    /// The camera sends pictures that depend on each other, and no key frame came within this
    /// timeout.
    #[error(
        "pictures come, no key frame for {} s: set the key-frame interval to 1 to 2 s in the \
         camera's settings, and switch its smart codec (H.264+) and intra refresh off", .0.as_secs()
    )]
    NoKeyFrame(Duration),
    /// The camera sends key frames that cannot be decoded.
    #[error(
        "pictures come, and cannot be decoded for {0:?}: set the camera's profile to Baseline, Main \
         or High, progressive and without encryption, or use its Motion JPEG stream"
    )]
    Undecodable(Duration),
    /// This build has no code for this kind of source. The text says which build has it.
    #[error("{0}")]
    LeftOut(&'static str),
    /// Never shown, because the daemon is stopping.
    #[error("stopped")]
    Stopped,
    /// A camera at this machine cannot be opened or read.
    #[error("{device}: {source}; {remedy}")]
    Device { device: String, source: std::io::Error, remedy: &'static str },
    /// The device file belongs to no camera.
    #[error("{device} gives no video; choose another from `ls /dev/v4l/by-id/* /dev/video*`")]
    NotVideo { device: String },
    /// The camera at this machine offers no format that this program reads.
    #[error(
        "{device} has no supported format (it offers {offers}); use a camera with MJPEG or YUYV of \
         at most 12 million pixels"
    )]
    NoFormat { device: String, offers: String },
    /// The source's code panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// The operating system gives no thread.
    #[error("cannot start the capture thread: {0}; check the system's limits and free memory")]
    Thread(std::io::Error),
}

/// The port to a camera. Real and simulated devices behave alike.
///
/// A source is opened by its constructor and closed by dropping it.
pub trait FrameSource: Send {
    /// Blocks until the next image, and returns it. Returns [`Next::Waiting`] after about
    /// [`TIMEOUT`], so that its thread sees a stop in time.
    fn next(&mut self) -> Result<Next, CameraError>;

    /// Returns the number of images and pieces discarded since the source was opened: unreadable,
    /// too large, or incomplete.
    fn skipped(&self) -> u64;
}

/// Timeout of [`FrameSource::next`] without a frame.
pub const TIMEOUT: Duration = Duration::from_millis(100);

/// What `gatehouse status` shows of a camera. Counters run from the daemon's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CameraState {
    /// The camera's name: its lane and direction, such as `north/entry`.
    pub name: String,
    /// The camera is open and, unless it is a replay, has given a frame since then.
    pub connected: bool,
    /// When `connected` last changed; milliseconds since boot.
    #[serde(rename = "since_uptime_ms")]
    pub since: Monotonic,
    /// When the newest frame came; milliseconds since boot.
    #[serde(rename = "last_frame_uptime_ms")]
    pub last_frame: Option<Monotonic>,
    /// The last error, kept after the camera works again.
    pub last_error: Option<String>,
    /// When the login is tried again that the camera refused; milliseconds since boot.
    #[serde(rename = "next_try_uptime_ms", default)]
    pub next_try: Option<Monotonic>,
    /// Since when pictures come without a key frame, while that is longer than the timeout of a
    /// whole frame; milliseconds since boot.
    #[serde(
        rename = "no_key_frame_since_uptime_ms",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub no_key_frame_since: Option<Monotonic>,
    /// Number of times that the camera could not be opened, or failed while it was open.
    pub errors: u64,
    /// Frames put into the slot.
    pub frames: u64,
    /// Frames that a newer one replaced before vision took them.
    pub dropped: u64,
    /// Images discarded: unreadable, too large, or incomplete.
    pub skipped: u64,
    /// A replay that is played once has ended.
    pub finished: bool,
}

impl CameraState {
    fn turn(&mut self, connected: bool, now: Monotonic) {
        if std::mem::replace(&mut self.connected, connected) != connected {
            self.since = now;
        }
    }
}

/// A running camera. Its thread ends within 300 ms of the token's cancellation.
#[derive(Debug)]
pub struct CameraHandle {
    /// The camera's state, as it changes.
    pub state: watch::Receiver<CameraState>,
    /// The capture thread.
    pub thread: JoinHandle<()>,
}

/// Starts the capture thread of a camera. It ends when `cancel` is cancelled, or at the end of a
/// replay that is played once. In both cases it wakes the slot's waiting workers.
pub fn spawn(
    name: &str,
    camera: &Camera,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
    slot: Arc<Slot>,
) -> Result<CameraHandle, CameraError> {
    let camera = camera.clone();
    let (replay_clock, stop) = (clock.clone(), cancel.clone());
    // A replay has no timeout: the program that fills its pipe may pause.
    let timeout =
        (!matches!(camera.source, CameraSource::Replay(_))).then(|| stalled_after(&camera));
    let password = camera.source.login().map(|login| login.password.clone());
    let asked = login::Asked::default();
    let open = move || -> Result<Box<dyn FrameSource>, CameraError> {
        Ok(match &camera.source {
            CameraSource::Replay(path) => {
                let (period, clock) = (period(&camera), replay_clock.clone());
                Box::new(Replay::open(path, period, camera.repeat, camera.looped, clock)?)
            }
            #[cfg(target_pointer_width = "64")]
            CameraSource::V4l2(path) => Box::new(v4l2::V4l2::open(path, camera.size, camera.fps)?),
            CameraSource::Http(url) => Box::new(http::Http::open(url, &asked, &stop)?),
            #[cfg(feature = "h264")]
            CameraSource::Rtsp(url) => Box::new(rtsp::Rtsp::open(url, &asked, &stop)?),
            #[cfg(not(all(target_pointer_width = "64", feature = "h264")))]
            _ => return Err(CameraError::LeftOut(camera.source.left_out().unwrap_or_default())),
        })
    };
    capture::spawn_with(name.to_owned(), Box::new(open), password, timeout, clock, cancel, slot)
}

#[cfg(test)]
mod tests;
