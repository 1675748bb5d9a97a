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
    format::{FrameIntervals, FrameSizes, PixFormat, PixelFormat},
    stream::ReadStream,
};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{CameraError, FrameSource, Layout, MAX_IMAGE, Next, PATIENCE, Picture, Yuv};

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
            let offers: Vec<_> = offers.iter().take(8).map(Offer::to_string).collect();
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
        let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::ZERO);
        let mut ready = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, patience) {
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

/// One format of a device, and its sizes.
struct Offer {
    format: PixelFormat,
    sizes: Sizes,
}

enum Sizes {
    Listed(Vec<Size>),
    Range {
        least: Size,
        most: Size,
        step: Size,
    },
    /// The driver does not tell.
    Untold,
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(width, height): &Size| format!("{width} x {height}");
        match &self.sizes {
            Sizes::Listed(sizes) => {
                let some: Vec<_> = sizes.iter().take(8).map(shown).collect();
                write!(f, "{} ({})", self.format, some.join(", "))
            }
            Sizes::Range { least, most, .. } => {
                write!(f, "{} ({} to {})", self.format, shown(least), shown(most))
            }
            Sizes::Untold => write!(f, "{}", self.format),
        }
    }
}

fn offers(camera: &Device) -> io::Result<Vec<Offer>> {
    let formats = camera.formats(BufType::VIDEO_CAPTURE);
    let offers = formats.map(|format| {
        let format = format?.pixel_format();
        let sizes = match camera.frame_sizes(format) {
            Ok(FrameSizes::Discrete(sizes)) => {
                Sizes::Listed(sizes.iter().map(|s| (s.width(), s.height())).collect())
            }
            Ok(FrameSizes::Stepwise(s) | FrameSizes::Continuous(s)) => Sizes::Range {
                least: (s.min_width(), s.min_height()),
                most: (s.max_width(), s.max_height()),
                step: (s.step_width(), s.step_height()),
            },
            Err(_) => Sizes::Untold,
        };
        Ok(Offer { format, sizes })
    });
    offers.collect()
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
        let sizes = sizes_of(format).filter_map(|offer| nearest(&offer.sizes, wanted));
        Some((format, sizes.min_by_key(|size| distance(*size, wanted))?))
    })
}

fn distance(a: Size, b: Size) -> u64 {
    u64::from(a.0.abs_diff(b.0)) + u64::from(a.1.abs_diff(b.1))
}

fn nearest(sizes: &Sizes, wanted: Size) -> Option<Size> {
    let size = match sizes {
        Sizes::Listed(sizes) => {
            let usable = sizes.iter().copied().filter(|size| fits(*size));
            return usable.min_by_key(|size| distance(*size, wanted));
        }
        Sizes::Range { least, most, step } => {
            let side = |wanted: u32, least: u32, most: u32, step: u32| {
                // A step of 0 is a driver's fault; so is a least above the most.
                let (most, step) = (most.max(least), step.max(1));
                let wanted = wanted.clamp(least, most);
                wanted - (wanted - least) % step
            };
            let width = side(wanted.0, least.0, most.0, step.0);
            (width, side(wanted.1, least.1, most.1, step.1))
        }
        Sizes::Untold => wanted,
    };
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
mod tests {
    use super::*;

    const GREY: PixelFormat = PixelFormat::from_fourcc(*b"GREY");

    fn listed(format: PixelFormat, sizes: &[Size]) -> Offer {
        Offer { format, sizes: Sizes::Listed(sizes.to_vec()) }
    }

    fn range(least: Size, most: Size, step: Size) -> [Offer; 1] {
        [Offer { format: PixelFormat::YUYV, sizes: Sizes::Range { least, most, step } }]
    }

    #[test]
    fn mjpeg_comes_before_yuyv_and_other_formats_are_left_alone() {
        let all = [
            listed(GREY, &[(1280, 720)]),
            listed(PixelFormat::YUYV, &[(1280, 720)]),
            listed(PixelFormat::JPEG, &[(1280, 720)]),
            listed(PixelFormat::MJPG, &[(640, 480)]),
        ];
        let chosen = |offers| choose(offers, (1280, 720));
        assert_eq!(chosen(&all), Some((PixelFormat::MJPG, (640, 480))));
        assert_eq!(chosen(&all[..3]), Some((PixelFormat::JPEG, (1280, 720))));
        assert_eq!(chosen(&all[..2]), Some((PixelFormat::YUYV, (1280, 720))));
        assert_eq!(chosen(&all[..1]), None);
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn the_nearest_listed_size_is_chosen_and_none_beyond_12_million_pixels() {
        let sizes = [(320, 240), (640, 480), (1280, 960), (1920, 1080), (8000, 6000), (0, 720)];
        let chosen = |wanted| choose(&[listed(PixelFormat::MJPG, &sizes)], wanted).unwrap().1;
        assert_eq!(chosen((1280, 720)), (1280, 960));
        assert_eq!(chosen((160, 120)), (320, 240));
        assert_eq!(chosen((4096, 4096)), (1920, 1080));
        let huge =
            [listed(PixelFormat::MJPG, &[(8000, 6000)]), listed(PixelFormat::YUYV, &[(640, 480)])];
        assert_eq!(choose(&huge, (1280, 720)), Some((PixelFormat::YUYV, (640, 480))));
        assert_eq!(choose(&huge[..1], (1280, 720)), None);
    }

    #[test]
    fn a_size_within_a_range_keeps_to_its_steps() {
        let chosen = |offers: &[Offer], wanted| choose(offers, wanted).map(|(_, size)| size);
        let steps = range((48, 32), (1920, 1080), (16, 8));
        assert_eq!(chosen(&steps, (1280, 720)), Some((1280, 720)));
        assert_eq!(chosen(&steps, (1289, 719)), Some((1280, 712)));
        assert_eq!(chosen(&steps, (4096, 16)), Some((1920, 32)));
        let large = range((2, 2), (8192, 8192), (2, 2));
        assert_eq!(chosen(&large, (4096, 4096)), Some((4096, 2928)));
        // Drivers' faults.
        assert_eq!(chosen(&range((640, 480), (0, 0), (0, 0)), (1280, 720)), Some((640, 480)));
        assert_eq!(chosen(&range((0, 0), (0, 0), (0, 0)), (1280, 720)), None);
        let untold = [Offer { format: PixelFormat::YUYV, sizes: Sizes::Untold }];
        assert_eq!(chosen(&untold, (1280, 720)), Some((1280, 720)));
    }

    #[test]
    fn the_nearest_rate_is_chosen_and_fractions_of_nothing_are_not() {
        let offered = [(1, 30), (1, 20), (2, 25), (1, 5), (0, 1), (1, 0)];
        let chosen = |fps| nearest_rate(offered.into_iter(), fps);
        assert_eq!(chosen(15.0), Some((2, 25)));
        assert_eq!(chosen(60.0), Some((1, 30)));
        assert_eq!(chosen(0.1), Some((1, 5)));
        assert_eq!(nearest_rate([(0, 30), (1, 0)].into_iter(), 15.0), None);
    }

    #[test]
    fn padded_rows_are_packed_and_missing_ones_refused() {
        let row = [1, 2, 3, 4, 5, 6, 7, 8];
        let padded = [&row[..], &[0xEE; 4], &row[..], &[0xEE; 4]].concat();
        let yuv = packed(&padded, (4, 2), 12).unwrap();
        assert_eq!((yuv.width, yuv.height, yuv.layout), (4, 2, Layout::Yuyv));
        assert_eq!(yuv.data, [row, row].concat());
        // Of the last row the padding may be missing, the row may not.
        assert_eq!(packed(&padded[..20], (4, 2), 12).unwrap(), yuv);
        assert_eq!(packed(&padded[..19], (4, 2), 12), None);
        assert_eq!(packed(&[], (4, 2), 12), None);
        // A driver that tells no stride has none; one row too many is left out.
        assert_eq!(packed(&[row, row, row].concat(), (4, 3), 0).unwrap(), yuv);
        assert_eq!(packed(&padded, (4, 2), usize::MAX), None);
        assert_eq!(packed(&padded, (1, 1), 12), None);
    }

    #[test]
    fn a_jpeg_is_taken_from_soi_to_eoi() {
        let jpeg = [0xFF, 0xD8, 0xFF, 0xDA, 7, 7, 0xFF, 0xD9];
        assert_eq!(whole_jpeg(&jpeg), Some(&jpeg[..]));
        assert_eq!(whole_jpeg(&[&jpeg[..], &[0; 9]].concat()), Some(&jpeg[..]));
        assert_eq!(whole_jpeg(&jpeg[..7]), None, "cut short");
        assert_eq!(whole_jpeg(&jpeg[1..]), None, "no beginning");
        assert_eq!(whole_jpeg(&[]), None);
        let mut large = vec![0; MAX_IMAGE + 1];
        large[..3].copy_from_slice(&jpeg[..3]);
        large[MAX_IMAGE - 1..].copy_from_slice(&[0xFF, 0xD9]);
        assert_eq!(whole_jpeg(&large), None, "too large");
    }

    #[test]
    fn a_jpeg_without_huffman_tables_is_decoded_with_the_standard_ones() {
        let mut jpeg = io::Cursor::new(Vec::new());
        let picture =
            image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([x as u8 * 3, 9, y as u8]));
        picture.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
        let mut jpeg = jpeg.into_inner();
        let whole = crate::vision::decode_frame(&jpeg).unwrap();
        let mut tables = 0;
        while let Some(at) = jpeg.windows(2).position(|w| w == [0xFF, 0xC4]) {
            let length = usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
            jpeg.drain(at..at + 2 + length);
            tables += 1;
        }
        assert!(tables > 0);
        assert!(crate::vision::decode_frame(whole_jpeg(&jpeg).unwrap()).unwrap() == whole);
    }

    #[test]
    fn what_is_no_camera_is_refused_with_a_remedy() {
        let refusal = |path: &Path| match V4l2::open(path, (1280, 720), 15.0) {
            Ok(_) => panic!("{} opened", path.display()),
            Err(e) => e.to_string(),
        };
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "no camera").unwrap();
        for path in [Path::new("/dev/null"), &file, dir.path()] {
            let said = refusal(path);
            assert!(said.contains(&path.display().to_string()) && said.contains("by-id"), "{said}");
        }
        let said = refusal(&dir.path().join("video7"));
        assert!(
            said.contains("video7: No such file") && said.contains("plug the camera"),
            "{said}"
        );
    }

    #[test]
    fn a_failure_names_the_device_the_reason_and_the_remedy() {
        for (errno, remedy) in [
            (Errno::ENODEV, "plug the camera in"),
            (Errno::EACCES, "group video"),
            (Errno::EPERM, "group video"),
            (Errno::EBUSY, "the other program"),
            (Errno::EIO, "its cable"),
        ] {
            let said = failure("/dev/video0", errno.into()).to_string();
            assert!(said.starts_with("/dev/video0: ") && said.contains(remedy), "{said}");
            assert!(said.contains(&format!("os error {}", errno as i32)), "{said}");
        }
    }
}
