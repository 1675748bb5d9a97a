//! `v4l2:DEVICE`: a camera of this machine, by Video4Linux2.
//!
//! In: the buffers of one capture device. Out: JPEGs as the camera made them, or YUYV with its rows
//! packed. MJPEG is asked for before YUYV, of what the device lists the size and then the rate
//! nearest to the wanted ones; what the driver answers is what counts. It touches its device only.
//!
//! Each buffer is copied out and given back at once, so none grows old while vision is busy: the
//! slot keeps the newest frame and counts the others. A device that is unplugged ends in an error;
//! the capture thread opens its path anew until there is a device again.

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

/// The formats that are read here, the dearest first.
const FORMATS: [PixelFormat; 3] = [PixelFormat::MJPG, PixelFormat::JPEG, PixelFormat::YUYV];
/// As vision takes of a frame.
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

/// What was agreed upon with the driver.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mode {
    format: PixelFormat,
    size: Size,
    /// From one row to the next, in bytes; of YUYV.
    stride: usize,
    /// `None`: the device does not say.
    fps: Option<f32>,
}

impl V4l2 {
    /// Opens `path` and lets it stream, as near to `size` and `fps` as it can.
    pub fn open(path: &Path, size: Size, fps: f32) -> Result<Self, CameraError> {
        let device = path.display().to_string();
        let failed = |source| failure(&device, source);
        // Asked before it is opened: opening another kind of device may do something to it.
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
        // The driver may have changed everything that it was asked for.
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
        // Not every driver has rates to choose from; then it has its own.
        if let Some(interval) = intervals.ok().and_then(|offered| interval(&offered, fps)) {
            let interval = capture.set_frame_interval(Fract::new(interval.0, interval.1));
            mode.fps = interval.ok().map(|i| i.denominator() as f32 / i.numerator() as f32);
        }
        let stream = capture.into_stream().map_err(failed)?;
        // To be sure that nothing but the poll waits.
        fcntl(&stream, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|e| failed(e.into()))?;
        tracing::info!(device, %mode, "camera agreed");
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
            // The poll reported an error, and the device does not say which.
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
        NotFound => "plug the camera in, or choose another of `ls /dev/v4l/by-id/* /dev/video*`",
        PermissionDenied => "let this user into the group video",
        ResourceBusy => "end the other program that uses it, or one of two lanes that name it",
        _ => "check its cable and its power; the kernel's log says more",
    };
    CameraError::Device { device: device.to_owned(), source, remedy }
}

/// One format of a device, and a range of its sizes, or one size.
struct Offer {
    format: PixelFormat,
    least: Size,
    most: Size,
    step: Size,
}

/// Of a driver that does not tell its sizes.
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

/// Of the first of [`FORMATS`] that the device has, the size nearest to the wanted one.
fn choose(offers: &[Offer], wanted: Size) -> Option<(PixelFormat, Size)> {
    // What may be wanted is more than what fits.
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
        // A step of 0 is a driver's fault; so is a least above the most.
        let (most, step) = (most.max(least), step.max(1));
        let wanted = wanted.clamp(least, most);
        wanted - (wanted - least) % step
    };
    let width = side(wanted.0, least.0, most.0, step.0);
    let size = (width, side(wanted.1, least.1, most.1, step.1));
    fits(size).then_some(size)
}

/// Of the offered times from frame to frame the one whose rate is nearest to `fps`; as a fraction
/// of a second.
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

/// What a buffer holds; `None` where it is of no use.
fn picture(mode: &Mode, buffer: &[u8]) -> Option<Picture> {
    if mode.format == PixelFormat::YUYV {
        return packed(buffer, mode.size, mode.stride).map(|yuv| Picture::Raw(Arc::new(yuv)));
    }
    Some(Picture::Encoded(whole_jpeg(buffer)?.into()))
}

/// SOI to EOI, without what some cameras fill the buffer up with. MJPEG may lack its Huffman tables:
/// the decoder has the standard ones.
fn whole_jpeg(buffer: &[u8]) -> Option<&[u8]> {
    let end = buffer.windows(2).rposition(|w| w == [0xFF, 0xD9])? + 2;
    let jpeg = buffer.get(..end)?;
    (jpeg.starts_with(&[0xFF, 0xD8, 0xFF]) && end <= MAX_IMAGE).then_some(jpeg)
}

/// YUYV without what lies between its rows; `None` where rows are missing. A driver's odd row or
/// column is left out.
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
