//! `replay:PATH`: recorded images as a camera.
//!
//! In: a directory of `.jpg`, `.jpeg` and `.png` in the order of their names; a file of
//! concatenated JPEGs (MJPEG); or a named pipe of such, into which a writer feeds frames at will.
//! Out: their bytes, a directory's and a file's at a steady pace, a pipe's as they come. It only
//! reads; it never holds more than one image and one piece of a stream. A pipe that nobody writes
//! to and that is no longer the one at its path is an error, so that the new one is opened.

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

use super::{CameraError, FrameSource, MAX_IMAGE, Next, PATIENCE, Picture, mjpeg::Splitter};
use crate::clock::{Clock, Monotonic};

/// Images of one directory.
const MAX_FILES: usize = 100_000;
/// Bytes read from a stream at once.
const PIECE: usize = 64 * 1024;
/// Between two looks into an empty pipe.
const PIPE_LOOK: Duration = Duration::from_millis(10);

/// The source.
pub struct Replay {
    path: PathBuf,
    from: From,
    period: Duration,
    repeat: u32,
    looped: bool,
    clock: Arc<dyn Clock>,
    /// The image to be shown again, and how many times.
    again: Option<(Arc<[u8]>, u32)>,
    /// When the next image may be shown.
    due: Option<Monotonic>,
    /// Images of this round: since the beginning was last begun with.
    shown: u64,
    unreadable: u64,
}

enum From {
    Directory { left: VecDeque<PathBuf> },
    Stream { file: File, pipe: bool, splitter: Splitter },
}

impl Replay {
    /// Opens `path`; shows an image each `period`, each `repeat` times, and begins again at the end
    /// if `looped`. A pipe's images are shown once each, as they come.
    pub fn open(
        path: &Path,
        period: Duration,
        repeat: u32,
        looped: bool,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CameraError> {
        let unreadable = |source| CameraError::Read { path: shown(path), source };
        let from = if std::fs::metadata(path).map_err(unreadable)?.is_dir() {
            From::Directory { left: images_in(path)? }
        } else {
            // Opening a pipe for reading would otherwise block until somebody writes. A regular
            // file takes no notice of the flag.
            let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
            let file = file.map_err(unreadable)?;
            let pipe = file.metadata().map_err(unreadable)?.file_type().is_fifo();
            From::Stream { file, pipe, splitter: Splitter::new(MAX_IMAGE) }
        };
        let path = path.to_owned();
        Ok(Self {
            path,
            from,
            period,
            repeat,
            looped,
            clock,
            again: None,
            due: None,
            shown: 0,
            unreadable: 0,
        })
    }

    /// Waits until the next image is due, or as long as patience allows. Whether it is due.
    fn pace(&mut self) -> bool {
        let left =
            |replay: &Self| replay.due.map_or(Duration::ZERO, |due| due - replay.clock.monotonic());
        let wait = left(self).min(PATIENCE);
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
        self.shown += 1;
        self.put_up(image)
    }

    fn paced(&self) -> bool {
        !matches!(self.from, From::Stream { pipe: true, .. })
    }

    fn put_up(&mut self, image: Arc<[u8]>) -> Next {
        // Steady as long as it keeps up; after a hitch it goes on from now, without a rush.
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
        match &mut self.from {
            From::Directory { left } => {
                while let Some(path) = left.pop_front() {
                    match read_image(&path) {
                        Ok(image) => return Ok(self.show(image)),
                        Err(error) => {
                            self.unreadable += 1;
                            tracing::warn!(path = %path.display(), %error, "image skipped");
                        }
                    }
                }
                if self.shown == 0 {
                    return Err(CameraError::NoImages { path: shown(&self.path) });
                }
                if !self.looped {
                    return Ok(Next::End);
                }
                self.shown = 0;
                *left = images_in(&self.path)?;
                Ok(Next::Waiting)
            }
            From::Stream { file, pipe, splitter } => {
                let unreadable = |source| CameraError::Read { path: shown(&self.path), source };
                let mut patience = PATIENCE;
                let mut piece = vec![0; PIECE];
                let mut fed = false;
                loop {
                    if let Some(image) = splitter.next_frame() {
                        return Ok(self.show(image));
                    }
                    // One piece at a time: a stream of garbage does not hold up a stop.
                    if fed {
                        return Ok(Next::Waiting);
                    }
                    let mut abandoned = false;
                    let read = match file.read(&mut piece) {
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => None,
                        Err(source) => return Err(unreadable(source)),
                        Ok(0) if *pipe => {
                            // The writer is gone, and took the rest of its frame with it. The
                            // next one is read from the same descriptor, if it finds this pipe.
                            splitter.end();
                            abandoned = true;
                            None
                        }
                        Ok(read) => Some(read),
                    };
                    match read {
                        Some(0) => break,
                        Some(read) => {
                            splitter.push(piece.get(..read).unwrap_or_default());
                            fed = true;
                        }
                        None if patience.is_zero() => {
                            if abandoned && !leads_to(&self.path, file).map_err(unreadable)? {
                                return Err(CameraError::Replaced { path: shown(&self.path) });
                            }
                            return Ok(Next::Waiting);
                        }
                        None => {
                            std::thread::sleep(PIPE_LOOK);
                            patience = patience.saturating_sub(PIPE_LOOK);
                        }
                    }
                }
                splitter.end();
                if self.shown == 0 {
                    return Err(CameraError::NoFrames { path: shown(&self.path) });
                }
                if !self.looped {
                    return Ok(Next::End);
                }
                self.shown = 0;
                file.rewind().map_err(unreadable)?;
                Ok(Next::Waiting)
            }
        }
    }

    fn skipped(&self) -> u64 {
        match &self.from {
            From::Directory { .. } => self.unreadable,
            From::Stream { splitter, .. } => splitter.torn(),
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Whether a writer that opens `path` now writes into `file`. The inode cannot be another's: it
/// is not given away as long as `file` holds it.
fn leads_to(path: &Path, file: &File) -> io::Result<bool> {
    let (here, there) = (file.metadata()?, std::fs::metadata(path)?);
    Ok((here.dev(), here.ino()) == (there.dev(), there.ino()))
}

/// The directory's images in the order of their names.
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

/// A whole image file, known by its first bytes and not only by its name.
fn read_image(path: &Path) -> io::Result<Vec<u8>> {
    let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    // Asked before it is opened: opening a pipe would block.
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
