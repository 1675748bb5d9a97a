//! `replay:PATH`: recorded images as a camera.
//!
//! In: a directory of `.jpg`, `.jpeg` and `.png` in the order of their names; a file of
//! concatenated JPEGs (MJPEG); or a named pipe of concatenated JPEGs from another program. Out: the
//! images' bytes. Images of a directory or file come at a steady rate, and those of a pipe as they
//! are written. It only reads, and holds at most one image and one piece of a stream.
//!
//! Another pipe may replace a pipe at its path. If the old pipe has no writer, that is an error, so
//! that the new pipe is opened.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::{self, Read, Seek},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{CameraError, FrameSource, MAX_IMAGE, Next, Picture, TIMEOUT, mjpeg::Splitter};
use crate::clock::{Clock, Monotonic};

/// Maximum number of images in a directory.
const MAX_FILES: usize = 100_000;
/// Maximum number of bytes read from a stream at once.
const PIECE: usize = 64 * 1024;
/// Interval between two reads of an empty pipe.
const PIPE_LOOK: Duration = Duration::from_millis(10);
/// Number of these intervals within [`TIMEOUT`].
const PIPE_LOOKS: u128 = TIMEOUT.as_millis() / PIPE_LOOK.as_millis();

/// The source.
pub struct Replay {
    path: PathBuf,
    from: Pictures,
    period: Duration,
    repeat: u32,
    looped: bool,
    clock: Arc<dyn Clock>,
    /// The image to show again, and how many times.
    again: Option<(Arc<[u8]>, u32)>,
    /// When the next image may be shown.
    due: Option<Monotonic>,
    /// Whether this round of the replay has shown an image.
    shown: bool,
}

enum Pictures {
    Directory { left: VecDeque<PathBuf>, unreadable: u64 },
    Stream { file: File, pipe: bool, splitter: Splitter },
}

enum Found {
    Image(Vec<u8>),
    /// No image yet.
    Waiting,
    /// No image is left.
    Over,
}

impl Replay {
    /// Opens `path`. Each image is shown `repeat` times, with `period` between two images. If
    /// `looped`, the replay begins again at its end. A pipe's images are shown once, as they come.
    pub fn open(
        path: &Path,
        period: Duration,
        repeat: u32,
        looped: bool,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CameraError> {
        let unreadable = |source| CameraError::Read { path: shown(path), source };
        let from = if std::fs::metadata(path).map_err(unreadable)?.is_dir() {
            Pictures::Directory { left: images_in(path)?, unreadable: 0 }
        } else {
            // Without the flag, opening a pipe blocks until it has a writer. The flag has no effect
            // on a regular file.
            let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
            let file = file.map_err(unreadable)?;
            let pipe = file.metadata().map_err(unreadable)?.file_type().is_fifo();
            Pictures::Stream { file, pipe, splitter: Splitter::new(MAX_IMAGE) }
        };
        let path = path.to_owned();
        Ok(Self { path, from, period, repeat, looped, clock, again: None, due: None, shown: false })
    }

    /// Waits until the next image is due, at most [`TIMEOUT`]. Returns whether it is due.
    fn pace(&mut self) -> bool {
        let left =
            |replay: &Self| replay.due.map_or(Duration::ZERO, |due| due - replay.clock.monotonic());
        let wait = left(self).min(TIMEOUT);
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        left(self).is_zero()
    }

    fn show(&mut self, image: Vec<u8>) -> Next {
        let image: Arc<[u8]> = image.into();
        if self.repeat > 1 && self.paced() {
            self.again = Some((image.clone(), self.repeat - 1));
        }
        self.shown = true;
        self.put_up(image)
    }

    fn paced(&self) -> bool {
        !matches!(self.from, Pictures::Stream { pipe: true, .. })
    }

    fn put_up(&mut self, image: Arc<[u8]>) -> Next {
        // The next image is due one period after this one was due. After a delay of more than a
        // period it is due one period from now, so that delayed images do not come all at once.
        let now = self.clock.monotonic();
        self.due = Some(match self.due {
            Some(due) if now - due < self.period => due + self.period,
            _ => now + self.period,
        });
        Next::Image(Picture::Encoded(image))
    }
}

impl FrameSource for Replay {
    fn next(&mut self) -> Result<Next, CameraError> {
        if self.paced() && !self.pace() {
            return Ok(Next::Waiting);
        }
        if let Some((image, times)) = self.again.take() {
            self.again = (times > 1).then(|| (image.clone(), times - 1));
            return Ok(self.put_up(image));
        }
        match self.from.next(&self.path)? {
            Found::Image(image) => Ok(self.show(image)),
            Found::Waiting => Ok(Next::Waiting),
            Found::Over if std::mem::take(&mut self.shown) => {
                if !self.looped {
                    return Ok(Next::End);
                }
                self.from.rewind(&self.path)?;
                Ok(Next::Waiting)
            }
            Found::Over => Err(match self.from {
                Pictures::Directory { .. } => CameraError::NoImages { path: shown(&self.path) },
                Pictures::Stream { .. } => CameraError::NoFrames { path: shown(&self.path) },
            }),
        }
    }

    fn skipped(&self) -> u64 {
        match &self.from {
            Pictures::Directory { unreadable, .. } => *unreadable,
            Pictures::Stream { splitter, .. } => splitter.torn(),
        }
    }
}

impl Pictures {
    fn next(&mut self, path: &Path) -> Result<Found, CameraError> {
        match self {
            Pictures::Directory { left, unreadable } => {
                while let Some(path) = left.pop_front() {
                    match read_image(&path) {
                        Ok(image) => return Ok(Found::Image(image)),
                        Err(error) => {
                            *unreadable += 1;
                            tracing::warn!(path = %path.display(), %error, "image skipped");
                        }
                    }
                }
                Ok(Found::Over)
            }
            Pictures::Stream { file, pipe, splitter } => {
                if let Some(image) = splitter.next_frame() {
                    return Ok(Found::Image(image));
                }
                let unreadable = |source| CameraError::Read { path: shown(path), source };
                let mut piece = vec![0; PIECE];
                let mut abandoned = false;
                for _ in 0..=PIPE_LOOKS {
                    abandoned = false;
                    match file.read(&mut piece) {
                        // One piece at a time, so that a stream of garbage does not delay a stop.
                        Ok(read) if read > 0 => {
                            splitter.push(piece.get(..read).unwrap_or_default());
                            return Ok(splitter.next_frame().map_or(Found::Waiting, Found::Image));
                        }
                        // The stream has ended. If it is a pipe, its writer closed it and the rest
                        // of the frame is lost. The next writer may open the same pipe.
                        Ok(_) => {
                            splitter.end();
                            if !*pipe {
                                return Ok(Found::Over);
                            }
                            abandoned = true;
                        }
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                        Err(source) => return Err(unreadable(source)),
                    }
                    std::thread::sleep(PIPE_LOOK);
                }
                if abandoned && !leads_to(path, file).map_err(unreadable)? {
                    return Err(CameraError::Replaced { path: shown(path) });
                }
                Ok(Found::Waiting)
            }
        }
    }

    /// Begins the replay again.
    fn rewind(&mut self, path: &Path) -> Result<(), CameraError> {
        match self {
            Pictures::Directory { left, .. } => *left = images_in(path)?,
            Pictures::Stream { file, .. } => {
                let unreadable = |source| CameraError::Read { path: shown(path), source };
                file.rewind().map_err(unreadable)?;
            }
        }
        Ok(())
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Returns whether a writer that opens `path` now writes into `file`. The inode numbers can be
/// compared, because a number is not used again while `file` is open.
fn leads_to(path: &Path, file: &File) -> io::Result<bool> {
    let (here, there) = (file.metadata()?, std::fs::metadata(path)?);
    Ok((here.dev(), here.ino()) == (there.dev(), there.ino()))
}

/// Returns the directory's images in the order of their names.
fn images_in(directory: &Path) -> Result<VecDeque<PathBuf>, CameraError> {
    let unreadable = |source| CameraError::Read { path: shown(directory), source };
    let mut images = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let extension = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
        if matches!(extension.as_deref(), Some("jpg" | "jpeg" | "png")) {
            images.push(path);
        }
        if images.len() > MAX_FILES {
            return Err(CameraError::TooManyImages { path: shown(directory), most: MAX_FILES });
        }
    }
    if images.is_empty() {
        return Err(CameraError::NoImages { path: shown(directory) });
    }
    images.sort();
    Ok(images.into())
}

/// Reads a whole image file. Its first bytes are checked, and not only its name.
fn read_image(path: &Path) -> io::Result<Vec<u8>> {
    let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    // The type is checked first, because opening a pipe would block.
    if !std::fs::metadata(path)?.is_file() {
        return Err(wrong("not a file"));
    }
    let mut image = Vec::new();
    File::open(path)?.take(MAX_IMAGE as u64 + 1).read_to_end(&mut image)?;
    if image.len() > MAX_IMAGE {
        return Err(wrong("more than 8 MiB"));
    }
    if !image.starts_with(&[0xFF, 0xD8, 0xFF]) && !image.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Err(wrong("neither JPEG nor PNG"));
    }
    Ok(image)
}
