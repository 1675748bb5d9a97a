//! `v4l2:DEVICE`: a camera connected to this machine, by Video4Linux2.
//!
//! In: the buffers of one capture device. Out: JPEGs as the camera sent them, or YUYV with packed
//! rows. It touches only its device.
//!
//! MJPEG is preferred to YUYV. The listed size nearest to the configured size is requested, and
//! then the nearest rate. The driver may change the request, and its answer is used.
//!
//! Each buffer is copied and returned at once, so that no buffer becomes old while vision is busy.
//! The slot keeps the newest frame and counts the others. An unplugged device causes an error. The
//! capture thread then opens the path again until a device is there.

use std::{
    fmt, io,
    os::{fd::AsFd, unix::fs::FileTypeExt, unix::fs::MetadataExt},
    path::Path,
    sync::Arc,
};

use linuxvideo::{
    BufType, CapabilityFlags, Device, Fract,
    format::{DiscreteFrameSize, FrameIntervals, FrameSizes, PixFormat, PixelFormat},
    stream::ReadStream,
};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{CameraError, FrameSource, Layout, MAX_IMAGE, Next, Picture, TIMEOUT, Yuv};

/// The supported formats, the preferred one first.
const FORMATS: [PixelFormat; 3] = [PixelFormat::MJPG, PixelFormat::JPEG, PixelFormat::YUYV];
/// Maximum number of pixels of a frame, as in vision.
const MAX_PIXELS: u64 = 12_000_000;
/// The major device number of Video4Linux2.
const VIDEO4LINUX: u64 = 81;

type Size = (u32, u32);

/// The source.
pub(super) struct V4l2 {
    device: String,
    mode: Mode,
    stream: ReadStream,
    skipped: u64,
}

/// The mode that the driver agreed to.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mode {
    format: PixelFormat,
    size: Size,
    /// Bytes from one row to the next, for YUYV.
    stride: usize,
    /// `None`: the driver does not report its rate.
    fps: Option<f32>,
}

impl V4l2 {
    /// Opens `path` and starts to stream, with the size and rate nearest to `size` and `fps`.
    pub fn open(path: &Path, size: Size, fps: f32) -> Result<Self, CameraError> {
        let device = path.display().to_string();
        let failed = |source| failure(&device, source);
        // The type is checked first, because opening another kind of device may have an effect.
        let found = std::fs::metadata(path).map_err(failed)?;
        if !found.file_type().is_char_device() || nix::sys::stat::major(found.rdev()) != VIDEO4LINUX
        {
            return Err(CameraError::NotVideo { device });
        }
        let camera = Device::open(path).map_err(failed)?;
        let wanted = CapabilityFlags::VIDEO_CAPTURE | CapabilityFlags::STREAMING;
        if !camera.capabilities().map_err(failed)?.device_capabilities().contains(wanted) {
            return Err(CameraError::NotVideo { device });
        }
        let offers = offers(&camera).map_err(failed)?;
        let no_format = || {
            let offers: Vec<_> = offers.iter().take(16).map(Offer::to_string).collect();
            let offers = if offers.is_empty() { "nothing".into() } else { offers.join(", ") };
            CameraError::NoFormat { device: device.clone(), offers }
        };
        let (format, size) = choose(&offers, size).ok_or_else(no_format)?;
        let intervals = camera.frame_intervals(format, size.0, size.1);
        let capture =
            camera.video_capture(PixFormat::new(size.0, size.1, format)).map_err(failed)?;
        // The driver may have changed any part of the request.
        let agreed = capture.format();
        let mut mode = Mode {
            format: agreed.pixel_format(),
            size: (agreed.width(), agreed.height()),
            stride: usize::try_from(agreed.bytes_per_line()).unwrap_or(usize::MAX),
            fps: None,
        };
        if !FORMATS.contains(&mode.format) || !fits(mode.size) {
            return Err(no_format());
        }
        // A driver without a choice of rates uses its own rate.
        if let Some(interval) = intervals.ok().and_then(|offered| interval(&offered, fps)) {
            let interval = capture.set_frame_interval(Fract::new(interval.0, interval.1));
            mode.fps = interval.ok().map(|i| i.denominator() as f32 / i.numerator() as f32);
        }
        let stream = capture.into_stream().map_err(failed)?;
        // Non-blocking, so that only the poll waits.
        fcntl(&stream, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|e| failed(e.into()))?;
        tracing::info!(device, %mode, "camera mode chosen");
        Ok(Self { device, mode, stream, skipped: 0 })
    }
}

impl FrameSource for V4l2 {
    fn next(&mut self) -> Result<Next, CameraError> {
        let failed = |source| failure(&self.device, source);
        let timeout = PollTimeout::try_from(TIMEOUT).unwrap_or(PollTimeout::ZERO);
        let mut ready = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Next::Waiting),
            Ok(_) => {}
            Err(e) => return Err(failed(e.into())),
        }
        let gone = ready[0].revents().is_none_or(|r| !r.contains(PollFlags::POLLIN));
        let mode = self.mode;
        let picture = self
            .stream
            .dequeue(|buffer| Ok(if buffer.is_error() { None } else { picture(&mode, &buffer) }));
        match picture {
            Ok(Some(picture)) => Ok(Next::Image(picture)),
            Ok(None) => {
                self.skipped += 1;
                Ok(Next::Waiting)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && !gone => Ok(Next::Waiting),
            // The poll reported an unknown error.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(failed(Errno::EIO.into())),
            Err(e) => Err(failed(e)),
        }
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} x {}", self.format, self.size.0, self.size.1)?;
        self.fps.map_or(Ok(()), |fps| write!(f, ", {fps:.1} frames a second"))
    }
}

fn failure(device: &str, source: io::Error) -> CameraError {
    use io::ErrorKind::{NotFound, PermissionDenied, ResourceBusy};
    let unplugged = [libc::ENODEV, libc::ENXIO].map(Some).contains(&source.raw_os_error());
    let remedy = match source.kind() {
        _ if unplugged => "plug the camera in",
        NotFound => "plug the camera in, or choose another from `ls /dev/v4l/by-id/* /dev/video*`",
        PermissionDenied => "add this user to the group video",
        ResourceBusy => "stop the other program that uses it, or remove it from all lanes but one",
        _ => "check its cable and its power; see the kernel's log for details",
    };
    CameraError::Device { device: device.to_owned(), source, remedy }
}

/// One format of a device with a range of sizes, or one size.
struct Offer {
    format: PixelFormat,
    least: Size,
    most: Size,
    step: Size,
}

/// The range of sizes for a driver that does not list its sizes.
const ANY: (Size, Size, Size) = ((2, 2), (u32::MAX, u32::MAX), (1, 1));

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, height) = self.least;
        write!(f, "{}", self.format)?;
        match self.most {
            most if most == ANY.1 => Ok(()),
            most if most == self.least => write!(f, " {width} x {height}"),
            most => write!(f, " {width} x {height} to {} x {}", most.0, most.1),
        }
    }
}

fn offers(camera: &Device) -> io::Result<Vec<Offer>> {
    let mut offers = Vec::new();
    for format in camera.formats(BufType::VIDEO_CAPTURE) {
        let format = format?.pixel_format();
        let ranges = match camera.frame_sizes(format) {
            Ok(FrameSizes::Discrete(sizes)) => {
                let size = |s: &DiscreteFrameSize| (s.width(), s.height());
                sizes.iter().map(|s| (size(s), size(s), (1, 1))).collect()
            }
            Ok(FrameSizes::Stepwise(s) | FrameSizes::Continuous(s)) => vec![(
                (s.min_width(), s.min_height()),
                (s.max_width(), s.max_height()),
                (s.step_width(), s.step_height()),
            )],
            Err(_) => vec![ANY],
        };
        let offer = |(least, most, step)| Offer { format, least, most, step };
        offers.extend(ranges.into_iter().map(offer));
    }
    Ok(offers)
}

fn fits((width, height): Size) -> bool {
    width >= 2 && height >= 2 && u64::from(width) * u64::from(height) <= MAX_PIXELS
}

/// Returns the first of [`FORMATS`] that the device has, and the size nearest to the wanted one.
fn choose(offers: &[Offer], wanted: Size) -> Option<(PixelFormat, Size)> {
    // The configuration allows larger sizes than [`MAX_PIXELS`].
    let rows = MAX_PIXELS / u64::from(wanted.0.max(1));
    let wanted = (wanted.0, wanted.1.min(u32::try_from(rows).unwrap_or(u32::MAX)));
    let sizes_of = |format| offers.iter().filter(move |offer| offer.format == format);
    FORMATS.into_iter().find_map(|format| {
        let sizes = sizes_of(format).filter_map(|offer| nearest(offer, wanted));
        Some((format, sizes.min_by_key(|size| distance(*size, wanted))?))
    })
}

fn distance(a: Size, b: Size) -> u64 {
    u64::from(a.0.abs_diff(b.0)) + u64::from(a.1.abs_diff(b.1))
}

fn nearest(Offer { least, most, step, .. }: &Offer, wanted: Size) -> Option<Size> {
    let side = |wanted: u32, least: u32, most: u32, step: u32| {
        // A step of 0, or a minimum above the maximum, is an error of the driver.
        let (most, step) = (most.max(least), step.max(1));
        let wanted = wanted.clamp(least, most);
        wanted - (wanted - least) % step
    };
    let width = side(wanted.0, least.0, most.0, step.0);
    let size = (width, side(wanted.1, least.1, most.1, step.1));
    fits(size).then_some(size)
}

/// Returns the offered frame interval whose rate is nearest to `fps`, as a fraction of a second.
fn interval(offered: &FrameIntervals, fps: f32) -> Option<Size> {
    let fraction = |f: &Fract| (f.numerator(), f.denominator());
    match offered {
        FrameIntervals::Discrete(list) => {
            nearest_rate(list.iter().map(|interval| fraction(interval.fract())), fps)
        }
        FrameIntervals::Stepwise(range) | FrameIntervals::Continuous(range) => {
            let wanted = (1000, (fps * 1000.0) as u32);
            let (least, most) = (fraction(range.min()), fraction(range.max()));
            let within = rate(wanted) <= rate(least) && rate(wanted) >= rate(most);
            if within { Some(wanted) } else { nearest_rate([least, most].into_iter(), fps) }
        }
    }
}

fn nearest_rate(intervals: impl Iterator<Item = Size>, fps: f32) -> Option<Size> {
    let real = intervals.filter(|(numerator, denominator)| *numerator > 0 && *denominator > 0);
    real.min_by(|a, b| (rate(*a) - fps).abs().total_cmp(&(rate(*b) - fps).abs()))
}

fn rate((numerator, denominator): Size) -> f32 {
    denominator as f32 / numerator as f32
}

/// Returns the picture in a buffer, or `None` if it is not usable.
fn picture(mode: &Mode, buffer: &[u8]) -> Option<Picture> {
    if mode.format == PixelFormat::YUYV {
        return packed(buffer, mode.size, mode.stride).map(|yuv| Picture::Raw(Arc::new(yuv)));
    }
    Some(Picture::Encoded(whole_jpeg(buffer)?.into()))
}

/// Returns the JPEG from SOI to EOI, without the padding that some cameras add. MJPEG may lack its
/// Huffman tables, because the decoder has the standard ones.
fn whole_jpeg(buffer: &[u8]) -> Option<&[u8]> {
    let end = buffer.windows(2).rposition(|w| w == [0xFF, 0xD9])? + 2;
    let jpeg = buffer.get(..end)?;
    (jpeg.starts_with(&[0xFF, 0xD8, 0xFF]) && end <= MAX_IMAGE).then_some(jpeg)
}

/// Returns YUYV without the padding between its rows, or `None` if rows are missing. An odd last
/// row or column is left out.
fn packed(buffer: &[u8], (width, height): Size, stride: usize) -> Option<Yuv> {
    let (width, height) = (width & !1, height & !1);
    let (row, rows) = (usize::try_from(width).ok()? * 2, usize::try_from(height).ok()?);
    let stride = stride.max(row);
    if row == 0 || rows == 0 || buffer.len() < stride.checked_mul(rows - 1)?.checked_add(row)? {
        return None;
    }
    let mut data = Vec::with_capacity(row * rows);
    buffer.chunks(stride).take(rows).for_each(|line| data.extend(line.iter().take(row)));
    Some(Yuv { width, height, layout: Layout::Yuyv, data })
}

#[cfg(test)]
mod tests;
