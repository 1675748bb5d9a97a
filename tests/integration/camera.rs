//! The room `camera` with real files, directories and named pipes.

use std::{
    fs::File,
    io::{Cursor, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, Instant},
};

use crate::common::capture::{Capture, PROMPT, clock};
use gatehouse::camera::{CameraError, FrameSource, Next, Picture, Replay};

const SOON: Duration = Duration::from_secs(120);

fn encoded(shade: u8, format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let image = image::RgbImage::from_pixel(32, 24, image::Rgb([shade, 10, 20]));
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn jpeg(shade: u8) -> Vec<u8> {
    encoded(shade, image::ImageFormat::Jpeg)
}

fn bytes(picture: &Picture) -> &[u8] {
    let Picture::Encoded(data) = picture else { panic!("{picture:?} from a replay") };
    data
}

/// Plays a replay once and returns its images and the number of skipped ones.
fn play(path: &Path) -> Result<(Vec<Vec<u8>>, u64), CameraError> {
    play_each(path, 1)
}

/// As `play`, and shows each image this number of times.
fn play_each(path: &Path, repeat: u32) -> Result<(Vec<Vec<u8>>, u64), CameraError> {
    let mut replay = Replay::open(path, Duration::from_millis(1), repeat, false, clock())?;
    let mut images = Vec::new();
    loop {
        match replay.next()? {
            Next::Image(picture) => images.push(bytes(&picture).to_vec()),
            Next::Waiting | Next::Unshown(_) => {}
            Next::End => return Ok((images, replay.skipped())),
        }
    }
}

#[test]
fn a_directory_is_played_in_the_order_of_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let png = encoded(3, image::ImageFormat::Png);
    for (name, bytes) in [("b.JPG", jpeg(2)), ("c.png", png.clone()), ("a.jpeg", jpeg(1))] {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    std::fs::write(dir.path().join("notes.txt"), "no image").unwrap();
    let (images, skipped) = play(dir.path()).unwrap();
    assert_eq!(images, [jpeg(1), jpeg(2), png]);
    assert_eq!(skipped, 0);
}

#[test]
fn images_that_cannot_be_used_are_skipped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name| dir.path().join(name);
    std::fs::write(path("a.jpg"), "not a jpeg").unwrap();
    std::fs::create_dir(path("b.jpg")).unwrap();
    nix::unistd::mkfifo(&path("c.jpg"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("gone", path("d.jpg")).unwrap();
    std::fs::write(path("e.jpg"), [&jpeg(1)[..], &vec![0; 8 << 20]].concat()).unwrap();
    std::fs::write(path("f.jpg"), jpeg(9)).unwrap();
    assert_eq!(play(dir.path()).unwrap(), (vec![jpeg(9)], 5));
}

#[test]
fn i8_a_directory_of_too_many_images_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let add = |n: u32| drop(File::create(dir.path().join(format!("{n}.jpg"))).unwrap());
    (0..100_000).for_each(add);
    let open = || Replay::open(dir.path(), Duration::from_millis(1), 1, false, clock());
    assert!(open().is_ok());
    add(100_000);
    let refused = open().err().unwrap().to_string();
    assert!(refused.ends_with("holds more than 100000 images; split it"), "{refused}");
}

#[test]
fn nothing_to_play_is_an_error_that_says_where_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let say = |path: &Path| play(path).unwrap_err().to_string();
    let shown = dir.path().display().to_string();
    assert!(say(dir.path()).starts_with(&format!("{shown} holds no readable .jpg")));
    assert!(say(dir.path()).contains("put images"));
    std::fs::write(dir.path().join("x.jpg"), "bad").unwrap();
    assert!(say(dir.path()).contains("no readable"));
    let missing = say(&dir.path().join("gone"));
    assert!(missing.contains("gone") && missing.contains("check that it exists"), "{missing}");
    assert!(say(&dir.path().join("x.jpg")).contains("no whole JPEG"));
}

#[test]
fn a_file_of_jpegs_is_cut_into_frames() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let stream = [&jpeg(1)[..], b"junk", &jpeg(2), &jpeg(3)[..100]].concat();
    file.write_all(&stream).unwrap();
    assert_eq!(play(file.path()).unwrap(), (vec![jpeg(1), jpeg(2)], 1));
}

#[test]
fn each_image_of_a_folder_or_file_is_shown_as_often_as_the_configuration_says() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.jpg"), jpeg(1)).unwrap();
    std::fs::write(dir.path().join("b.jpg"), jpeg(2)).unwrap();
    let thrice = vec![jpeg(1), jpeg(1), jpeg(1), jpeg(2), jpeg(2), jpeg(2)];
    assert_eq!(play_each(dir.path(), 3).unwrap(), (thrice.clone(), 0));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[jpeg(1), jpeg(2)].concat()).unwrap();
    assert_eq!(play_each(file.path(), 3).unwrap(), (thrice, 0));
}

#[test]
fn a_replay_played_once_ends_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..4 {
        std::fs::write(dir.path().join(format!("{n}.jpg")), jpeg(n)).unwrap();
    }
    let mut camera = Capture::replay(dir.path(), 100.0, false);
    let state = camera.state_when(|s| s.finished);
    assert_eq!(
        (state.frames, state.dropped, state.skipped),
        (4, 3, 0),
        "no reader took the frames"
    );
    let frame = camera.frame();
    assert_eq!((frame.seq, bytes(&frame.picture)), (3, &jpeg(3)[..]));
    assert!(!camera.state_when(|s| !s.connected).connected);
    camera.handle.thread.join().unwrap();
}

#[test]
fn a_looped_replay_rereads_its_directory_and_keeps_its_pace() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.jpg"), jpeg(1)).unwrap();
    let begun = Instant::now();
    let mut camera = Capture::replay(dir.path(), 50.0, true);
    let frames: Vec<_> = (0..5).map(|_| camera.frame()).collect();
    assert!(begun.elapsed() >= Duration::from_millis(75), "{:?}", begun.elapsed());
    assert!(frames.windows(2).all(|f| f[0].seq < f[1].seq && f[0].captured < f[1].captured));
    std::fs::write(dir.path().join("b.jpg"), jpeg(2)).unwrap();
    while *bytes(&camera.frame().picture) != jpeg(2)[..] {}
    let status = serde_json::to_value(camera.handle.state.borrow().clone()).unwrap();
    assert_eq!((&status["connected"], &status["name"]), (&true.into(), &"north entry".into()));
    assert!(status["since_uptime_ms"].is_u64() && status["last_frame_uptime_ms"].is_u64());
    camera.stop();
}

#[test]
fn i10_a_camera_that_comes_back_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("later");
    let mut camera = Capture::replay(&path, 50.0, true);
    let state = camera.state_when(|s| s.last_error.is_some());
    assert!(!state.connected && state.last_error.unwrap().contains("later"));
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("a.jpg"), jpeg(1)).unwrap();
    assert_eq!(camera.frame().seq, 0);
    std::fs::remove_dir_all(&path).unwrap();
    camera.state_when(|s| !s.connected);
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("a.jpg"), jpeg(2)).unwrap();
    // The seq rises across reconnections.
    let mut frame = camera.frame();
    while *bytes(&frame.picture) != jpeg(2)[..] {
        frame = camera.frame();
    }
    assert!(frame.seq > 0);
    camera.stop();
}

#[test]
fn a_pipe_is_read_as_its_writers_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("camera");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Pacing would allow 1 frame per second.
    let mut camera = Capture::replay(&pipe, 1.0, false);
    camera.state_when(|s| s.connected);
    let mut writer = File::options().write(true).open(&pipe).unwrap();
    for shade in 1..4 {
        writer.write_all(&jpeg(shade)).unwrap();
        assert_eq!(*bytes(&camera.frame().picture), jpeg(shade)[..]);
    }
    writer.write_all(&jpeg(4)[..200]).unwrap();
    drop(writer);
    // The torn frame is discarded before the first frame of the next writer.
    camera.state_when(|s| s.skipped == 1);
    let mut writer = File::options().write(true).open(&pipe).unwrap();
    writer.write_all(&jpeg(5)).unwrap();
    let frame = camera.frame();
    assert_eq!((frame.seq, bytes(&frame.picture)), (3, &jpeg(5)[..]));
    assert!(!camera.handle.state.borrow().finished);
    assert!(camera.stop() < PROMPT);
}

fn make_pipe(path: &Path) {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
}

/// Opens a pipe for writing as soon as it has a reader.
fn write_once_read(pipe: &Path) -> File {
    let begun = Instant::now();
    loop {
        let opened = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(pipe);
        match opened {
            Ok(writer) => return writer,
            Err(error) => assert!(begun.elapsed() < SOON, "the pipe has no reader: {error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn i10_a_pipe_that_was_replaced_is_reopened() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("run/camera");
    let run = pipe.parent().unwrap();
    std::fs::create_dir(run).unwrap();
    make_pipe(&pipe);
    let mut camera = Capture::replay(&pipe, 1.0, true);
    let mut writer = write_once_read(&pipe);
    writer.write_all(&jpeg(1)).unwrap();
    assert_eq!(*bytes(&camera.frame().picture), jpeg(1)[..]);
    // The camera's program ends, and its directory is removed and made again.
    drop(writer);
    std::fs::remove_dir_all(run).unwrap();
    let state = camera.state_when(|s| !s.connected);
    assert!(state.last_error.unwrap().contains("check that it exists"));
    std::fs::create_dir(run).unwrap();
    make_pipe(&pipe);
    let mut writer = write_once_read(&pipe);
    writer.write_all(&jpeg(2)).unwrap();
    assert_eq!(*bytes(&camera.frame().picture), jpeg(2)[..]);
    // The pipe is replaced atomically, so it is never missing.
    drop(writer);
    let other = run.join("other");
    make_pipe(&other);
    std::fs::rename(&other, &pipe).unwrap();
    let mut writer = write_once_read(&pipe);
    writer.write_all(&jpeg(3)).unwrap();
    assert_eq!(*bytes(&camera.frame().picture), jpeg(3)[..]);
    assert!(camera.handle.state.borrow().last_error.as_ref().unwrap().contains("was replaced"));
    camera.stop();
}

#[test]
fn a_stop_is_prompt_while_a_source_sends_endless_garbage() {
    let mut camera = Capture::replay(Path::new("/dev/zero"), 1.0, true);
    camera.state_when(|s| s.connected);
    camera.cancel.cancel();
    let begun = Instant::now();
    while !camera.handle.thread.is_finished() {
        assert!(begun.elapsed() < PROMPT, "the capture thread still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_stop_is_prompt_in_every_state() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::write(dir.path().join("a.jpg"), jpeg(1)).unwrap();
    // A pipe without a writer, a source in backoff, a slow directory.
    let mut waiting = Capture::replay(&pipe, 1.0, true);
    waiting.state_when(|s| s.connected);
    let mut failing = Capture::replay(&dir.path().join("gone"), 1.0, true);
    failing.state_when(|s| s.last_error.is_some());
    let mut slow = Capture::replay(dir.path(), 0.1, true);
    slow.state_when(|s| s.frames == 1);
    for camera in [waiting, failing, slow] {
        let took = camera.stop();
        assert!(took < PROMPT, "{took:?}");
    }
}
