//! Network cameras that are broken, slow or hostile, and cameras that ask for a login.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::common::{
    Site,
    broker::{SOON, free_port},
    camera::{empty, jpeg, photo, photo_path},
    capture::{Capture, PROMPT},
    film::{Mjpeg, Script, film},
};
use gatehouse::camera::Picture;
use nix::sys::signal::Signal;
use serde_json::Value;

/// A server that treats each connection as the test chooses. Dropping this value ends it.
struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts the server. `serve` gets each connection and its number, after a request's head was
    /// read.
    fn start(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (over, connections) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ends, count, serve) = (over.clone(), connections.clone(), Arc::new(serve));
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if ends.load(Ordering::Relaxed) {
                    break;
                }
                let (serve, n) = (serve.clone(), count.fetch_add(1, Ordering::Relaxed));
                // The thread ends with its connection.
                std::thread::spawn(move || {
                    let mut request = BufReader::new(stream.try_clone().unwrap());
                    let mut line = String::new();
                    while request.read_line(&mut line).is_ok_and(|n| n > 2) {
                        line.clear();
                    }
                    serve(stream, n);
                });
            }
        });
        Self { port, connections, over, thread: Some(thread) }
    }

    fn answers(answer: &'static [u8]) -> Self {
        Self::start(move |mut stream, _| {
            let _ = stream.write_all(answer);
            gone(&mut stream);
        })
    }

    fn http(&self) -> Capture {
        Capture::network(&format!("http://127.0.0.1:{}/cam", self.port))
    }

    fn rtsp(&self) -> Capture {
        Capture::network(&format!("rtsp://127.0.0.1:{}/cam", self.port))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Waits until the other side closes.
fn gone(stream: &mut TcpStream) {
    let mut rest = [0; 1024];
    while stream.read(&mut rest).is_ok_and(|n| n > 0) {}
}

const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n";

fn part(jpeg: &[u8]) -> Vec<u8> {
    [b"--b\r\nContent-Type: image/jpeg\r\n\r\n", jpeg, b"\r\n"].concat()
}

fn is(picture: &Picture, jpeg: &[u8]) -> bool {
    matches!(picture, Picture::Encoded(data) if **data == *jpeg)
}

#[test]
fn an_answer_that_is_no_stream_is_refused_with_a_remedy() {
    let cases: [(&[u8], &str); 8] = [
        (b"HTTP/1.1 302 Found\r\n\r\n", "leads to another address, and does not say to which"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n", "image/jpeg, and not a stream"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "give the address of its MJPEG stream"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "404 Not Found; check the address"),
        (
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n",
            "asks for a login: give username and password",
        ),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "answer is not HTTP"),
        (b"", "no answer within 5s"),
        (b"\xff\x00 200 OK\r\n", "answer is not HTTP"),
    ];
    let all = cases.map(|(answer, expected)| {
        let server = Server::answers(answer);
        (server.http(), server, expected)
    });
    for (mut capture, _server, expected) in all {
        let error = capture.state_when(|s| s.errors > 0).last_error.unwrap();
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
        assert!(error.starts_with("http://127.0.0.1:"), "{error}");
        assert!(!capture.handle.state.borrow().connected);
    }
}

#[test]
fn i10_an_endless_head_costs_only_its_connection() {
    let server = Server::start(|mut stream, n| {
        if n > 0 {
            let _ = stream.write_all(&[STREAM, &part(&jpeg(&empty()))].concat());
            return gone(&mut stream);
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"X-Padding: as much of it as is taken\r\n").is_ok() {}
    });
    let mut capture = server.http();
    let error = capture.state_when(|s| s.errors > 0).last_error.unwrap();
    assert!(error.contains("answer is not HTTP"), "{error}");
    assert!(is(&capture.frame().picture, &jpeg(&empty())));
    assert_eq!(capture.handle.state.borrow().errors, 1);
}

#[test]
fn i8_a_part_of_100_megabytes_is_skipped() {
    let server = Server::start(|mut stream, _| {
        let _ = stream.write_all(&[STREAM, b"--b\r\n\r\n\xFF\xD8\xFF\xDA\x00\x02"].concat());
        let much = vec![0x55; 1 << 20];
        let _ = (0..100).try_for_each(|_| stream.write_all(&much));
        let _ = stream.write_all(&part(&jpeg(&empty())));
        gone(&mut stream);
    });
    let mut capture = server.http();
    assert!(is(&capture.frame().picture, &jpeg(&empty())));
    assert!(capture.handle.state.borrow().skipped > 0);
}

#[test]
fn i8_a_4k_camera_at_60_frames_a_second_does_not_fill_the_memory() {
    let picture = image::load_from_memory(&photo("person_b_1.jpg")).unwrap();
    let mut frame = picture.resize_exact(3840, 2160, image::imageops::Triangle).to_rgb8();
    // A realistic frame of such a camera has about 1 MiB.
    for (n, pixel) in frame.pixels_mut().enumerate() {
        pixel.0[1] ^= ((n * n) >> 7) as u8 & 15;
    }
    let frame = part(&jpeg(&frame));
    let sent = (300 * frame.len()) >> 20;
    let server = Server::start(move |mut stream, _| {
        let _ = stream.write_all(STREAM);
        while stream.write_all(&frame).is_ok() {
            std::thread::sleep(Duration::from_millis(16));
        }
    });
    let site = Site::prepare();
    site.configure(|c| c.camera("source", format!("http://127.0.0.1:{}/cam", server.port)));
    let _daemon = site.start();
    let frames_of = |s: &Value| s["lanes"][0]["cameras"][0]["frames"].as_u64().unwrap();
    let memory_at = |frames| {
        let status = site.status_when("frames", |s| frames_of(s) >= frames);
        (status["process"]["resident_bytes"].as_u64().unwrap() >> 20, status)
    };
    let (before, _) = memory_at(100);
    let (after, status) = memory_at(400);
    eprintln!("4K: {before} MiB resident, and {after} after {sent} MiB of frames");
    assert!(sent > 200 && after < before + 100, "{before} MiB have become {after} MiB");
    let camera = &status["lanes"][0]["cameras"][0];
    let count = |key: &str| camera[key].as_u64().unwrap();
    assert!(count("dropped") > 0 && count("analysed") > 0, "{camera}");
    assert_eq!(count("too_large") + count("skipped") + count("errors"), 0, "{camera}");
}

#[test]
fn i10_a_stream_that_drips_counts_as_stalled_and_is_reopened() {
    let server = Server::start(|mut stream, n| {
        let frame = part(&jpeg(&empty()));
        // One whole frame, then single bytes of a frame that never ends.
        let _ = stream.write_all(&[STREAM, &frame].concat());
        let mut drip = frame.iter().take(if n == 0 { frame.len() / 2 } else { 0 });
        while let Some(byte) = drip.next()
            && stream.write_all(&[*byte]).is_ok()
        {
            std::thread::sleep(Duration::from_millis(500));
        }
        gone(&mut stream);
    });
    let mut capture = server.http();
    capture.frame();
    let begun = Instant::now();
    let state = capture.state_when(|s| s.errors > 0);
    eprintln!("a stream that drips: stalled after {:.1?}", begun.elapsed());
    let error = state.last_error.unwrap();
    assert!(error.contains("gave no whole frame for 3s"), "{error}");
    assert!(!state.connected);
    capture.frame();
    assert!(capture.handle.state.borrow().connected);
    assert_eq!(server.connections.load(Ordering::Relaxed), 2);
}

#[test]
fn i10_a_motion_jpeg_camera_that_freezes_is_reopened() {
    let (film, port) = (film("person_a_1.jpg"), free_port());
    let peer = Mjpeg::start(film.path(), port);
    let mut capture = Capture::network(&format!("http://127.0.0.1:{port}/cam.mjpg"));
    capture.frame();
    stands_still("ffmpeg", &mut capture, &|signal| peer.signal(signal));
}

#[test]
fn i10_an_rtsp_camera_that_freezes_is_reopened() {
    let film = film("person_a_1.jpg");
    let peer = Script::rtsp(film.path(), 0, &["basic", "gate", "word"]);
    let mut capture = Capture::network(&format!("rtsp://gate:word@127.0.0.1:{}/cam", peer.port));
    let Picture::Raw(picture) = capture.frame().picture else { panic!("H.264 is not encoded") };
    assert_eq!((picture.width, picture.height), (1280, 720));
    stands_still("GStreamer", &mut capture, &|signal| peer.signal(signal));
}

fn stands_still(peer: &str, capture: &mut Capture, signal: &dyn Fn(Signal)) {
    let before = capture.state_when(|s| s.frames > 5).errors;
    signal(Signal::SIGSTOP);
    let begun = Instant::now();
    let state = capture.state_when(|s| s.errors > before);
    let noticed = begun.elapsed();
    // The next attempt may have failed already; then its error is in the state.
    let (error, stalled) = (state.last_error.unwrap(), state.errors == before + 1);
    let says = if stalled { "gave no whole frame for 3s" } else { "127.0.0.1" };
    assert!(error.contains(says), "{peer}: {error}");
    assert!(noticed >= Duration::from_secs(2), "{peer}: after {noticed:?}: {error}");
    // The frozen peer answers no new connection, which is a second error.
    capture.state_when(|s| s.errors > before + 1);
    signal(Signal::SIGCONT);
    let begun = Instant::now();
    capture.state_when(|s| s.connected);
    eprintln!(
        "{peer} stands still: noticed after {noticed:.1?}, frames {:.1?} after it went on",
        begun.elapsed()
    );
}

#[test]
fn a_camera_streams_with_the_right_login_and_reports_a_wrong_one() {
    let photo = photo_path("person_a_1.jpg");
    let expected = std::fs::read(&photo).unwrap();
    for kind in ["basic", "digest"] {
        let arguments = [photo.to_str().unwrap(), kind, "gate", "word"];
        let mut peer = Script::start("http_camera.py", &arguments);
        let port = peer.port;
        let address = |login: &str| format!("http://{login}127.0.0.1:{port}/cam?channel=1&sub");
        let mut capture = Capture::network(&address("gate:word@"));
        assert!(is(&capture.frame().picture, &expected), "{kind}");
        assert_eq!(capture.handle.state.borrow().errors, 0, "{kind}");
        for (login, says) in [("gate:wr0ng@", "refuses the login"), ("", "asks for a login")] {
            let mut capture = Capture::network(&address(login));
            let error = capture.state_when(|s| s.errors > 0).last_error.unwrap();
            assert!(error.contains(says) && !error.contains("wr0ng"), "{kind}: {error}");
        }
        assert_eq!(peer.line(), "refused");
    }
    let film = film("person_a_1.jpg");
    for kind in ["basic", "digest"] {
        let peer = Script::rtsp(film.path(), 0, &[kind, "gate", "word"]);
        for (login, says) in [("gate:wr0ng@", "refuses the login"), ("", "asks for a login")] {
            let mut capture =
                Capture::network(&format!("rtsp://{login}127.0.0.1:{}/cam", peer.port));
            let error = capture.state_when(|s| s.errors > 0).last_error.unwrap();
            assert!(error.contains(says) && !error.contains("wr0ng"), "{kind}: {error}");
        }
    }
}

/// Returns an answer to DESCRIBE with this SDP.
macro_rules! described {
    ($sdp:literal) => {
        concat!(
            "RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Type: application/sdp\r\n",
            "Content-Length: 9999\r\n\r\n",
            $sdp
        )
        .as_bytes()
    };
}

#[test]
fn i10_a_server_that_speaks_no_rtsp_is_an_error_and_no_panic() {
    let answers: [&[u8]; 9] = [
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"\xff\xfe\x00\x00$$$$$$$$\x00\r\n\r\n",
        b"RTSP/1.0 999 \r\nCSeq: 1\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 18446744073709551615\r\n\r\nx",
        b"RTSP/1.0 200 OK\r\nCSeq: 77\r\n\r\n",
        b"RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n",
        b"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Digest ,,,\r\n\r\n",
        described!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\nm=video 0 RTP/AVP 9999999999\r\n"),
        described!("\x00\x01garbage=\r\n\r\nm=\r\n"),
    ];
    let all = answers.map(|answer| {
        let server = Server::start(move |mut stream, _| {
            // The missing rest of the answer never comes.
            let _ = stream.write_all(answer);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            gone(&mut stream);
        });
        (server.rtsp(), server)
    });
    for (n, (mut capture, _server)) in all.into_iter().enumerate() {
        let error = capture.state_when(|s| s.errors > 1).last_error.unwrap();
        assert!(error.starts_with("rtsp://127.0.0.1:"), "{n}: {error}");
        assert!(error.len() < 400 && !error.contains(char::is_control), "{n}: {error:?}");
    }
}

#[test]
fn i8_streams_that_cannot_be_decoded_are_refused_before_they_begin() {
    // JPEG over RTP; and H.264 whose parameters claim 5008 x 4000 pixels.
    let large = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;\
                 sprop-parameter-sets=Z0LAM9oATkB9ZA==,aM48gA==";
    for (media, says) in [
        ("m=video 0 RTP/AVP 26", "no H.264 video; set its codec to H.264"),
        (large, "pictures of 5008 x 4000 have more than 9.4 million pixels; set the camera to"),
    ] {
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n{media}\r\na=control:track1\r\n"
        );
        let server = Server::start(move |mut stream, _| {
            let head = "RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Type: application/sdp\r\n";
            let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{sdp}", sdp.len());
            gone(&mut stream);
        });
        let error = server.rtsp().state_when(|s| s.errors > 0).last_error.unwrap();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_stop_is_prompt_in_every_state_of_a_network_camera() {
    let silent = Server::answers(b"");
    let stalling = Server::answers(STREAM);
    let absent = free_port();
    let live = Server::start(|mut stream, _| {
        let frame = part(&jpeg(&empty()));
        let _ = stream.write_all(STREAM);
        while stream.write_all(&frame).is_ok() {}
    });
    let accepted = |server: &Server| {
        let begun = Instant::now();
        while server.connections.load(Ordering::Relaxed) == 0 {
            assert!(begun.elapsed() < SOON, "the camera does not connect");
            std::thread::yield_now();
        }
    };
    let (http, rtsp, stalled, mut flows) =
        (silent.http(), silent.rtsp(), stalling.http(), live.http());
    let mut gone = Capture::network(&format!("rtsp://127.0.0.1:{absent}/cam"));
    [&silent, &stalling].into_iter().for_each(accepted);
    flows.frame();
    gone.state_when(|s| s.errors > 0);
    for capture in [http, rtsp, stalled, flows, gone] {
        let state = capture.handle.state.clone();
        let errors = state.borrow().errors;
        let took = capture.stop();
        assert!(took < PROMPT, "{took:?}");
        assert_eq!(state.borrow().errors, errors, "a stop is no error");
    }
}
