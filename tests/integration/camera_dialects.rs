//! Network cameras that speak RTSP and HTTP as cameras in the field do: heads that break the rules,
//! logins of every kind, redirects, UDP only, rare key frames. And the words for each fault.

use std::{
    io::{BufReader, Read, Write},
    net::TcpListener,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http_auth::{DigestClient, PasswordClient, PasswordParams};
use serde_json::Value;

use crate::common::{
    Lane, Site,
    camera::{empty, jpeg},
    capture::Capture,
    film::{Script, film},
    rtsp::{Ask, Film, Rtsp},
    until,
};

/// A key frame each half second.
static FILM: LazyLock<Film> = LazyLock::new(|| Film::encode("keyint=10"));

fn usual(_: &Ask, answer: String) -> String {
    answer
}

/// Asserts that a camera gives pictures without one failure.
fn plays(name: &str, camera: &Rtsp, login: &str) {
    let mut capture = Capture::network(&camera.address(login));
    let state = capture.state_when(|s| s.frames > 0 || s.errors > 0);
    assert_eq!((state.errors, state.last_error), (0, None), "{name}");
    let picture = format!("{:?}", capture.frame().picture);
    assert!(picture.contains("320 x 240"), "{name}: {picture}");
}

/// Returns the error of a camera.
fn fails(address: &str) -> String {
    let mut capture = Capture::network(address);
    capture.state_when(|s| s.errors > 0).last_error.unwrap()
}

#[test]
fn rtsp_heads_that_players_take_give_pictures() {
    type Change = fn(&Ask, String) -> String;
    let dialects: &[(&str, Change)] = &[
        ("by the book", usual),
        ("a header without a value", |_, a| a.replacen("\r\n", "\r\nServer:\r\nX-Y: \r\n", 1)),
        ("an empty base", |ask, a| a.replace(&format!("{}/\r", ask.uri), "\r")),
        ("a line of one blank", |_, a| a.replacen("\r\n", "\r\n \r\n", 1)),
        ("a line of blanks instead of the empty one", |_, a| {
            a.replacen("\r\n\r\n", "\r\n \r\n", 1)
        }),
        ("LF only", |_, a| {
            a.replace("\r\n", "\n").replace("Content-Length: ", "Content-Length: 0")
        }),
        ("LF in the head, CRLF in the body", |_, a| {
            let (head, body) = a.split_once("\r\n\r\n").unwrap();
            format!("{}\n\n{body}", head.replace("\r\n", "\n"))
        }),
        ("blanks before the colon", |_, a| a.replace(": ", " \t:")),
        ("folded lines", |_, a| a.replace("Session: ", "Session:\r\n\t")),
        ("no phrase", |_, a| a.replacen("200 OK", "200", 1)),
        ("lower case", |_, a| {
            let (head, body) = a.split_once("\r\n\r\n").unwrap();
            let lower = head.split("\r\n").map(|line| match line.split_once(": ") {
                Some((name, value)) => format!("{}: {value}", name.to_lowercase()),
                None => line.to_lowercase(),
            });
            format!("{}\r\n\r\n{body}", lower.collect::<Vec<_>>().join("\r\n"))
        }),
        ("no number", |ask, a| a.replace(&format!("CSeq: {}\r\n", ask.field("cseq")), "")),
        ("the number before", |ask, a| {
            a.replace(&format!("CSeq: {}\r\n", ask.field("cseq")), "CSeq: 0\r\n")
        }),
        ("timeout=0", |_, a| a.replace("timeout=60", "timeout=0")),
        ("a session with blanks", |_, a| {
            a.replace("12345678;timeout=60", " 12345678 ; timeout = 60 ; x")
        }),
        ("no session", |_, a| a.replace("Session: 12345678;timeout=60\r\n", "")),
        ("another type of the SDP", |_, a| {
            a.replace("application/sdp", "Application/SDP; charset=utf-8")
        }),
        ("no type of the SDP", |_, a| a.replace("Content-Type: application/sdp\r\n", "")),
        ("no length", |_, a| a.replace("Content-Length", "X-Length")),
        ("a length that is too large", |_, a| a.replace("Content-Length: ", "Content-Length: 9")),
        ("two lengths", |_, a| a.replacen("\r\n\r\n", "\r\nContent-Length: x\r\n\r\n", 1)),
        ("an empty line more", |_, a| a.replacen("\r\n\r\n", "\r\n\r\n\r\n", 1)),
        ("a base without a scheme", |_, a| a.replace("Base: rtsp://", "Base: ")),
        ("a base with two schemes", |_, a| a.replace("Base: rtsp:", "Base: rtsp://rtsp:")),
        ("a base within the camera", |_, a| {
            a.replace("Base: rtsp://127.0.0.1", "Base: rtsp://10.1.2.3")
        }),
        ("an SDP of LF and NUL", |_, a| {
            let (head, body) = a.split_once("\r\n\r\n").unwrap();
            let mut body = body.replace("\r\n", "\n");
            if !body.is_empty() {
                body += "\0\r\r";
            }
            format!("{head}\r\n\r\n{body}")
        }),
        ("no control", |_, a| {
            a.replace("a=control:trackID=1\r\n", "").replace("a=control:*", "a=x:y")
        }),
        ("an absolute control", |_, a| {
            a.replace("a=control:trackID=1", "a=control:rtsp://10.1.2.3/trackID=1")
        }),
        ("no transport", |_, a| a.replace("Transport: ", "X-Transport: ")),
        ("blanks and junk in the transport", |_, a| {
            a.replace(
                ";unicast;interleaved=0-1",
                "; unicast; interleaved=0-1;source=;ssrc=zz;mode=\"PLAY\"",
            )
        }),
        ("junk in the times", |ask, a| match &*ask.method {
            "PLAY" => a.replacen("\r\n", "\r\nRTP-Info: x;;=,,\r\nRange: npt=now-\r\n", 1),
            _ => a,
        }),
        ("bytes before an answer", |_, a| format!("\r\n\0\0x\r\n{a}")),
        ("an answer before the answer", |ask, a| ask.answer("100 Continue", "") + &a),
        ("packets before the answer", |ask, a| match &*ask.method {
            "DESCRIBE" => a,
            _ => format!("$\u{7}\0\u{1}x$\0\0\u{2}yz{}", a),
        }),
        ("a request of its own", |_, a| format!("OPTIONS * RTSP/1.0\r\nCSeq: 9\r\n\r\n{a}")),
    ];
    for group in dialects.chunks(8) {
        std::thread::scope(|scope| {
            for (name, dialect) in group {
                scope.spawn(move || plays(name, &Rtsp::start(&FILM, dialect), ""));
            }
        });
    }
}

/// Returns the answer that a login should hold, from http-auth's own reading of a strict challenge.
fn expected(challenge: &str, ask: &Ask, given: &str) -> String {
    let part = |name: &str| {
        let at = given.find(&format!("{name}=")).map(|at| &given[at + name.len() + 1..]);
        at.map(|rest| rest.split(',').next().unwrap().trim_matches('"')).unwrap_or_default()
    };
    let PasswordClient::Digest(mut client) = PasswordClient::try_from(challenge).unwrap() else {
        panic!("no digest");
    };
    let params = PasswordParams {
        username: "gate",
        password: "word",
        uri: part("uri"),
        method: &ask.method,
        body: None,
    };
    let count = u32::from_str_radix(part("nc"), 16).unwrap_or(1);
    let respond = |client: &mut DigestClient| {
        client.respond_with_testing_cnonce(&params, part("cnonce")).unwrap()
    };
    (1..count).for_each(|_| drop(respond(&mut client)));
    let expected = respond(&mut client);
    assert_eq!(part("uri"), ask.uri);
    expected.split("response=\"").nth(1).unwrap()[..32].to_owned()
}

/// Returns a dialect that asks for a login. `ask` gets a nonce and writes the challenge.
fn asks_for_login(
    nonce: impl Fn(&Ask) -> String + Send + Sync + 'static,
    write: impl Fn(&str) -> String + Send + Sync + 'static,
) -> impl Fn(&Ask, String) -> String + Send + Sync + 'static {
    move |ask, usual| {
        let nonce = nonce(ask);
        let given = ask.field("authorization");
        if given.contains(&format!("nonce=\"{nonce}\"")) {
            let qop = if given.contains("qop=") { ", qop=\"auth\"" } else { "" };
            let strict = format!("Digest realm=\"cam\", nonce=\"{nonce}\"{qop}");
            assert!(!given.contains("auth-int"), "{given}");
            assert!(given.contains(&expected(&strict, ask, given)), "{given}");
            return usual;
        }
        ask.answer("401 Unauthorized", &write(&nonce))
    }
}

#[test]
fn rtsp_logins_are_answered_right_however_the_question_is_written() {
    let fixed = |_: &Ask| "abc".to_owned();
    type Write = fn(&str) -> String;
    let questions: &[(&str, Write)] = &[
        ("auth-int beside auth", |n| {
            format!(
                "WWW-Authenticate: Digest realm=\"cam\", nonce=\"{n}\", qop=\"auth,auth-int\"\r\n"
            )
        }),
        ("auth-int first", |n| {
            format!(
                "WWW-Authenticate: Digest qop=\"auth-int, auth\",realm=\"cam\",nonce=\"{n}\"\r\n"
            )
        }),
        ("a realm without quotes", |n| {
            format!("WWW-Authenticate: Digest nonce={n}, qop=auth, realm=cam\r\n")
        }),
        ("a missing comma", |n| {
            format!("WWW-Authenticate: Digest realm=\"cam\" nonce=\"{n}\", qop=\"auth\"\r\n")
        }),
        ("no commas and no quotes", |n| {
            format!("www-authenticate:digest realm=cam nonce={n} algorithm=md5\r\n")
        }),
        ("an empty qop", |n| {
            format!("WWW-Authenticate: Digest realm=\"cam\";nonce=\"{n}\";qop=\"\"\r\n")
        }),
        ("basic before digest on one line", |n| {
            format!("WWW-Authenticate: Basic realm=\"x\", Digest realm=\"cam\", nonce=\"{n}\"\r\n")
        }),
        ("many lines", |n| {
            format!(
                "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: Digest realm=\"cam\", \
                 nonce=\"{n}\", algorithm=SHA3\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\
                 WWW-Authenticate: Digest realm=\"cam\",\r\n nonce=\"{n}\", qop=auth\r\n"
            )
        }),
    ];
    for (name, write) in questions {
        let camera = Rtsp::start(&FILM, asks_for_login(fixed, write));
        plays(name, &camera, "gate:word@");
    }
    let strict = |n: &str| {
        format!("WWW-Authenticate: Digest realm=\"cam\", nonce=\"{n}\", qop=\"auth\"\r\n")
    };
    let own = |ask: &Ask| format!("of-{}", ask.connection);
    let camera = Rtsp::start(&FILM, asks_for_login(own, strict));
    plays("a nonce of the connection", &camera, "gate:word@");
    let once = |ask: &Ask| format!("of-{}", ask.method);
    let camera = Rtsp::start(&FILM, asks_for_login(once, strict));
    plays("a nonce of the request", &camera, "gate:word@");
    let stale = |ask: &Ask| format!("after-{}", ask.field("cseq").parse::<u32>().unwrap() / 2);
    let write = move |n: &str| strict(n).replace("qop", "stale=true, qop");
    let camera = Rtsp::start(&FILM, asks_for_login(stale, write));
    plays("a nonce that becomes stale", &camera, "gate:word@");
    // The connection is closed after the question, and its nonce is valid on the next one.
    let camera = Rtsp::start(&FILM, {
        let asked = asks_for_login(fixed, strict);
        move |ask, usual| match ask.connection {
            0 if !ask.field("authorization").is_empty() => String::new(),
            _ => asked(ask, usual),
        }
    });
    plays("a connection for each answer", &camera, "gate:word@");
}

#[test]
fn a_camera_that_refuses_a_login_in_any_way_is_tried_again_after_a_minute() {
    type Answer = fn(&Ask) -> String;
    let refusals: &[(&str, Answer)] = &[
        ("with a new nonce", |ask| {
            let nonce = ask.field("cseq");
            let lines = format!("WWW-Authenticate: Digest realm=\"cam\", nonce=\"{nonce}\"\r\n");
            ask.answer("401 Unauthorized", &lines)
        }),
        ("without a question", |ask| ask.answer("401 Unauthorized", "")),
        ("forbidden", |ask| ask.answer("403 Forbidden", "")),
        ("by closing", |_| String::new()),
    ];
    for (name, refusal) in refusals {
        let camera = Rtsp::start(&FILM, move |ask, _| match ask.field("authorization") {
            "" => {
                let lines = "WWW-Authenticate: Digest realm=\"cam\", nonce=\"first\"\r\n";
                ask.answer("401 Unauthorized", lines)
            }
            _ => refusal(ask),
        });
        let mut capture = Capture::network(&camera.address("gate:wr0ng@"));
        let state = capture.state_when(|s| s.next_try.is_some());
        let error = state.last_error.unwrap();
        assert!(error.contains("login; check user and password"), "{name}: {error}");
        assert_eq!(state.errors, 1, "{name}");
        let asks = camera.asks.lock().unwrap();
        let logins = asks.iter().filter(|ask| !ask.field("authorization").is_empty()).count();
        assert!(logins <= 2, "{name}: {logins} logins");
    }
}

#[test]
fn a_camera_that_refuses_tcp_sends_over_udp() {
    type Answer = fn(&Ask, String) -> String;
    let refusals: &[(&str, Answer)] = &[
        ("461", |ask, _| ask.answer("461 Unsupported Transport", "")),
        ("400", |ask, _| ask.answer("400 Bad Request", "")),
        ("UDP in spite of the request", |ask, _| {
            let lines = "Session: 1\r\nTransport: RTP/AVP;unicast;server_port=6000-6001\r\n";
            ask.answer("200 OK", lines)
        }),
    ];
    for (name, refusal) in refusals {
        let camera = Rtsp::start(&FILM, move |ask, usual| {
            let wants_tcp = ask.field("transport").contains("interleaved");
            if ask.method == "SETUP" && wants_tcp { refusal(ask, usual) } else { usual }
        });
        plays(name, &camera, "");
        let asks = camera.asks.lock().unwrap();
        assert!(asks.iter().any(|ask| ask.field("transport").contains("client_port=")), "{name}");
    }
}

#[test]
fn a_camera_of_gstreamer_that_sends_over_udp_only_gives_pictures() {
    let film = film("person_a_1.jpg");
    let peer = Script::rtsp(film.path(), 0, &["udp"]);
    let mut capture = Capture::network(&format!("rtsp://127.0.0.1:{}/cam", peer.port));
    let state = capture.state_when(|s| s.frames > 20 || s.errors > 0);
    assert_eq!((state.errors, state.last_error), (0, None));
}

#[test]
fn a_redirect_is_followed_and_another_host_gets_no_login() {
    let login = || {
        let strict = |n: &str| format!("WWW-Authenticate: Digest realm=\"cam\", nonce=\"{n}\"\r\n");
        asks_for_login(|_| "abc".to_owned(), strict)
    };
    let leading = |to: String| {
        Rtsp::start(&FILM, move |ask, _| {
            ask.answer("302 Moved Temporarily", &format!("Location: {to}\r\n"))
        })
    };
    let target = Rtsp::start(&FILM, login());
    plays("to another port", &leading(target.address("")), "gate:word@");
    let asking = {
        let (asks, to) = (login(), target.address(""));
        Rtsp::start(&FILM, move |ask, usual| {
            let answer = asks(ask, usual);
            match answer.contains(" 200 ") {
                true => ask.answer("302 Found", &format!("Location: {to}\r\n")),
                false => answer,
            }
        })
    };
    plays("to another port after a login", &asking, "gate:word@");
    let here = Rtsp::start(&FILM, |ask, usual| match ask.uri.ends_with("/cam") {
        true => ask.answer("301 Moved", "Location: /live/1\r\n"),
        false => usual,
    });
    plays("to another path", &here, "");
    let other = leading(target.address("").replace("127.0.0.1", "localhost"));
    let before = target.asks.lock().unwrap().len();
    let error = fails(&other.address("gate:word@"));
    assert!(error.contains("leads to localhost, which asks for a login"), "{error}");
    let asks = target.asks.lock().unwrap();
    assert!(asks[before..].iter().all(|ask| ask.field("authorization").is_empty()), "{asks:?}");
}

/// What a camera does, and the words for it.
type Fault = (fn(&Ask, String) -> String, &'static str);

const FAULTS: &[Fault] = &[
    (|ask, _| ask.answer("404 Not Found", ""), "has no such stream; check the address"),
    (|ask, _| ask.answer("403 Forbidden", ""), "forbids this stream (403)"),
    (|ask, _| ask.answer("453 Not Enough Bandwidth", ""), "serves no further viewer"),
    (
        |ask, _| ask.answer("500 Internal", ""),
        "refuses DESCRIBE: 500 Internal; this is a fault in the",
    ),
    (|ask, _| ask.answer("418 Teapot", ""), "refuses DESCRIBE: 418 Teapot; check the address"),
    (
        |ask, usual| match &*ask.method {
            "SETUP" => ask.answer("461 Unsupported Transport", ""),
            _ => usual,
        },
        "neither over TCP nor over UDP",
    ),
    (
        |ask, usual| match &*ask.method {
            "PLAY" => ask.answer("455 Method Not Valid", ""),
            _ => usual,
        },
        "does not play this address",
    ),
    (|ask, _| ask.answer("302 Found", "Location: rtsps://127.0.0.1/x\r\n"), "leads to rtsps:"),
    (|ask, _| ask.answer("302 Found", "Location: /cam\r\n"), "from one address to the other"),
    (|ask, _| ask.answer("302 Found", ""), "does not say to which"),
    (|ask, _| ask.answer("401 Unauthorized", ""), "asks for a login: give username and password"),
    (
        |_, a| a.replace("H264/90000", "H265/90000"),
        "set its codec to H.264 (the stream is in H.265 (HEVC))",
    ),
    (|_, a| a.replace("H264/90000", "MP4V-ES/90000"), "the stream is in MP4V-ES"),
    (|_, a| a.replace("m=video", "m=audio"), "has no video at this address"),
    (
        |ask, _| {
            ask.answer("200 OK", "Content-Type: text/html\r\nContent-Length: 6\r\n") + "<html>"
        },
        "describes the stream as text/html",
    ),
    (|_, _| "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(), "speaks HTTP, and not RTSP"),
    (|_, _| "SSH-2.0-OpenSSH_9.2p1\r\nlogin:\r\n".repeat(3000), "does not speak RTSP"),
    (|_, _| String::new(), "closed the connection"),
];

#[test]
fn each_fault_of_an_rtsp_camera_has_its_own_words() {
    for faults in FAULTS.chunks(6) {
        std::thread::scope(|scope| {
            for (dialect, says) in faults {
                scope.spawn(move || {
                    let camera = Rtsp::start(&FILM, dialect);
                    let error = fails(&camera.address(""));
                    assert!(error.contains(says), "{error:?} lacks {says:?}");
                    assert!(error.starts_with("rtsp://127.0.0.1:"), "{error}");
                });
            }
        });
    }
}

#[test]
fn pictures_that_the_decoder_cannot_read_are_named() {
    for (samples, x264, says) in [
        ("yuv420p", "interlaced=1", "interlaced H.264, which this program does not decode; set"),
        ("yuv420p", "bff=1", "interlaced H.264"),
        ("yuv420p10le", "ref=1", "more than 8 bits a colour"),
        ("yuv422p", "ref=1", "H.264 in 4:2:2 or 4:4:4"),
    ] {
        for announced in [true, false] {
            let film = Film::encode_as(samples, &format!("keyint=10:{x264}"));
            let film = Film { announced, ..film };
            let error = fails(&Rtsp::start(&film, usual).address(""));
            assert!(error.contains(says), "{error}");
        }
    }
    let mut broken = FILM.clone();
    let is_key = |unit: &&mut Vec<u8>| unit[0] & 31 == 5;
    for unit in broken.pictures.iter_mut().flatten().filter(is_key) {
        unit[1..].fill(0x55);
    }
    let error = fails(&Rtsp::start(&broken, usual).address(""));
    assert!(error.contains("cannot be decoded for 3s: set the camera's profile"), "{error}");
}

/// Returns the lines of `check` about cameras.
fn checked(entry: &str, exit: &str) -> Vec<(String, bool)> {
    let site = Site::of(Lane::modbus("north").camera("entry", entry).camera("exit", exit));
    let said = site.gatehouse(&["--json", "check"]).out;
    let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let cameras = lines.filter(|line| line["check"].as_str().unwrap().starts_with("camera north/"));
    let line = |line: Value| (line["detail"].as_str().unwrap().to_owned(), line["ok"] == true);
    cameras.map(line).collect()
}

#[test]
fn check_tells_the_faults_of_network_cameras_apart() {
    let (busy, newer) = (Rtsp::start(&FILM, FAULTS[2].0), Rtsp::start(&FILM, FAULTS[11].0));
    let lines = checked(&busy.address(""), &newer.address(""));
    assert!(lines[0].0.contains(FAULTS[2].1) && !lines[0].1, "{lines:?}");
    assert!(lines[1].0.contains(FAULTS[11].1) && !lines[1].1, "{lines:?}");
    let (keyless, good) =
        (Rtsp::start(&FILM, usual), Rtsp::start(&FILM, |_, a| a.replace(": ", ":")));
    keyless.keys.store(false, Ordering::Relaxed);
    let lines = checked(&keyless.address(""), &good.address(""));
    assert!(lines[0].0.contains("pictures come, no key frame for ") && !lines[0].1, "{lines:?}");
    assert!(lines[1].1, "{lines:?}");
}

#[test]
fn a_camera_without_key_frames_is_kept_and_told_and_shows_its_first_one() {
    let announced = FILM.clone();
    let in_band = Film { announced: false, ..FILM.clone() };
    // Of a stream with intra refresh only the first picture is a key frame.
    let refreshed = Film::encode("keyint=20:intra-refresh=1");
    let cameras = [announced, in_band, refreshed].map(|film| Rtsp::start(&film, usual));
    let captures: Vec<_> = cameras
        .iter()
        .map(|camera| {
            camera.keys.store(false, Ordering::Relaxed);
            Capture::network(&camera.address(""))
        })
        .collect();
    for (camera, mut capture) in cameras.iter().zip(captures) {
        let state = capture.state_when(|s| s.no_key_frame_since.is_some() || s.errors > 0);
        assert_eq!((state.errors, state.frames, state.connected), (0, 0, false), "{state:?}");
        camera.keys.store(true, Ordering::Relaxed);
        capture.frame();
        let state = capture.state_when(|s| s.frames > 0);
        assert_eq!((state.errors, state.no_key_frame_since, state.connected), (0, None, true));
        assert_eq!(camera.connections.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn status_says_that_pictures_come_without_a_key_frame() {
    let camera = Rtsp::start(&FILM, usual);
    let site = Site::of(Lane::modbus("north").camera("entry", &camera.address("")));
    let daemon = site.start();
    site.status_when("pictures", |s| s["lanes"][0]["cameras"][0]["frames"].as_u64() > Some(0));
    camera.keys.store(false, Ordering::Relaxed);
    // The decoder needs a key frame after a picture that is missing.
    let status = site.status_when("a trouble", |s| {
        s["degraded"].as_array().unwrap().iter().any(|d| d["what"] == "camera north/entry")
    });
    let text = status["degraded"].to_string();
    assert!(text.contains("no key frame for ") && text.contains("1 to 2 s"), "{text}");
    let seen = &status["lanes"][0]["cameras"][0];
    assert!(seen["no_key_frame_since_uptime_ms"].is_u64() && seen["errors"] == 0, "{seen}");
    assert_eq!(status["lanes"][0]["ready"], false);
    camera.keys.store(true, Ordering::Relaxed);
    site.status_when("pictures again", |s| {
        s["lanes"][0]["cameras"][0]["no_key_frame_since_uptime_ms"].is_null()
    });
    daemon.stop();
}

/// A camera that serves Motion JPEG over HTTP as the test chooses. It ends with the test's process.
struct Http {
    port: u16,
    asks: Arc<Mutex<Vec<Ask>>>,
}

impl Http {
    /// `answer` writes an answer to a request. After an answer of 200 a JPEG follows again and
    /// again.
    fn start(answer: impl Fn(&Ask) -> Vec<u8> + Send + Sync + 'static) -> Http {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asks = Arc::<Mutex<Vec<Ask>>>::default();
        let (noted, answer, count) = (asks.clone(), Arc::new(answer), AtomicUsize::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (noted, answer) = (noted.clone(), answer.clone());
                let n = count.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || {
                    let mut to = stream.try_clone().unwrap();
                    let mut from = BufReader::new(stream);
                    while let Some(ask) = Ask::read(&mut from, n) {
                        noted.lock().unwrap().push(ask.clone());
                        let answer = answer(&ask);
                        if answer.is_empty() || to.write_all(&answer).is_err() {
                            let _ = to.shutdown(std::net::Shutdown::Both);
                            return;
                        }
                        if answer.get(9..12) == Some(b"200") {
                            let _ = from.read_to_end(&mut Vec::new());
                        }
                    }
                });
            }
        });
        Http { port, asks }
    }

    fn address(&self, login: &str) -> String {
        format!("http://{login}127.0.0.1:{}/cam", self.port)
    }
}

fn shows(name: &str, camera: &Http, login: &str) {
    let mut capture = Capture::network(&camera.address(login));
    let state = capture.state_when(|s| s.frames > 0 || s.errors > 0);
    assert_eq!((state.errors, state.last_error), (0, None), "{name}");
}

/// Returns an answer whose head has these lines, with two JPEGs.
fn jpegs(head: &str) -> Vec<u8> {
    let part = [b"--b\nContent-Type: image/jpeg\n\n", &jpeg(&empty())[..], b"\n"].concat();
    [head.as_bytes(), &part, &part].concat()
}

#[test]
fn http_heads_that_browsers_take_give_pictures() {
    let kind = "Content-Type: multipart/x-mixed-replace;boundary=--b";
    let heads = [
        format!("HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: -1\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{kind}\r\nContent-Length: 7\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999999\r\n{kind}\r\n\r\n"),
        "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;\r\n boundary=b\r\n\r\n"
            .to_owned(),
        "HTTP/1.0 200 OK\r\nContent-Type : multipart/x-mixed-replace\r\n\r\n".to_owned(),
        format!("HTTP/1.0 200\n{kind}\nno field here\nServer:\n\n"),
        format!("http/1.1 200 OK\r\n{}\r\n\r\n", kind.to_uppercase()),
        format!("HTTP/1.1 200 OK\r\n{kind}\r\n \r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{kind}\r\nX-\u{e9}: \u{1}\u{e9}\r\nX Y: z\r\n\r\n"),
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Encoding: none\r\n\r\n".to_owned(),
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n{kind}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{kind}\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ];
    for head in heads {
        let answer = jpegs(&head);
        shows(&head, &Http::start(move |_| answer.clone()), "");
    }
    let body = jpegs("");
    let mut chunked =
        format!("HTTP/1.1 200 OK\r\n{kind}\r\nTransfer-Encoding: Chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(100) {
        chunked.extend(format!("{:X}\r\n", chunk.len()).bytes());
        chunked.extend(chunk.iter().chain(b"\r\n"));
    }
    shows("chunks", &Http::start(move |_| chunked.clone()), "");
}

#[test]
fn an_http_login_is_answered_on_its_connection_and_goes_to_no_other_host() {
    let kind = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace\r\n\r\n";
    let question = |nonce: &str, more: &str| {
        format!(
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"cam\" nonce=\"{nonce}\", \
             qop=\"auth,auth-int\"{more}\r\nContent-Length: 4\r\n\r\nbody"
        )
        .into_bytes()
    };
    let answers_right = |nonce: &str, ask: &Ask| {
        let given = ask.field("authorization");
        let strict = format!("Digest realm=\"cam\", nonce=\"{nonce}\", qop=\"auth\"");
        given.contains(&format!("nonce=\"{nonce}\""))
            && given.contains(&expected(&strict, ask, given))
    };
    let own = Http::start(move |ask| {
        let nonce = format!("of-{}", ask.connection);
        if answers_right(&nonce, ask) { jpegs(kind) } else { question(&nonce, "") }
    });
    shows("a nonce of the connection", &own, "gate:word@");
    let in_chunks = Http::start(move |ask| {
        let nonce = format!("of-{}", ask.connection);
        if answers_right(&nonce, ask) {
            return jpegs(kind);
        }
        let asks = String::from_utf8(question(&nonce, "")).unwrap();
        let (head, body) = asks.split_once("Content-Length: 4\r\n\r\n").unwrap();
        format!("{head}Transfer-Encoding: chunked\r\n\r\n4\r\n{body}\r\n0\r\n\r\n").into_bytes()
    });
    shows("a nonce of the connection, and chunks", &in_chunks, "gate:word@");
    // The first nonce has become stale before it is used.
    let stale = Http::start(move |ask| match ask.field("authorization") {
        "" => question("old", ""),
        _ if answers_right("new", ask) => jpegs(kind),
        _ => question("new", ", stale=\"TRUE\""),
    });
    shows("a stale nonce", &stale, "gate:word@");
    let closing = Http::start(move |ask| match ask.field("authorization") {
        "" if ask.connection == 0 => question("abc", ""),
        "" => Vec::new(),
        _ if ask.connection > 0 && answers_right("abc", ask) => jpegs(kind),
        _ => Vec::new(),
    });
    shows("a connection for each answer", &closing, "gate:word@");
    let port = own.port;
    let leading = |to: String| {
        Http::start(move |_| format!("HTTP/1.1 307 Moved\r\nLocation: {to}\r\n\r\n").into_bytes())
    };
    shows("to another port", &leading(own.address("")), "gate:word@");
    let other = leading(format!("http://localhost:{port}/cam"));
    let before = own.asks.lock().unwrap().len();
    let error = fails(&other.address("gate:word@"));
    assert!(error.contains("leads to localhost, which asks for a login"), "{error}");
    let asks = own.asks.lock().unwrap();
    assert!(asks[before..].iter().all(|ask| ask.field("authorization").is_empty()), "{asks:?}");
}

#[test]
fn each_fault_of_an_http_camera_has_its_own_words() {
    let cases = [
        ("HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/\r\n\r\n", "leads to https:"),
        ("HTTP/1.1 302 Found\r\nLocation: /cam\r\n\r\n", "from one address to the other"),
        ("HTTP/1.1 503 Busy\r\n\r\n", "503 Busy; it is busy, or serves no further viewer"),
        ("HTTP/1.1 500\r\n\r\n", "answers 500; this is a fault in the camera"),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace\r\nContent-Encoding: gzip\r\n\r\n",
            "packs its answer",
        ),
        ("RTSP/1.0 400 Bad Request\r\n\r\n", "is not HTTP: it begins with \"RTSP/1.0 400"),
        ("", "closed the connection"),
    ];
    for (answer, says) in cases {
        let camera = Http::start(move |_| answer.as_bytes().to_vec());
        let error = fails(&camera.address(""));
        assert!(error.contains(says), "{error:?} lacks {says:?}");
    }
}

#[test]
fn a_camera_that_answers_no_keepalive_is_kept() {
    let camera = Rtsp::start(&FILM, |ask, usual| match &*ask.method {
        "OPTIONS" | "GET_PARAMETER" => ask.answer("501 Not Implemented", ""),
        "SETUP" => usual.replace("timeout=60", "timeout=1"),
        _ => usual,
    });
    let mut capture = Capture::network(&camera.address(""));
    capture.frame();
    let begun = Instant::now();
    // A keepalive comes each two seconds.
    until("keepalives", || {
        let asks = camera.asks.lock().unwrap();
        let sent = asks.iter().filter(|ask| ask.method == "OPTIONS").count();
        assert!(begun.elapsed() < Duration::from_secs(120));
        (sent > 2).then_some(())
    });
    let state = capture.handle.state.borrow().clone();
    assert_eq!((state.errors, state.connected), (0, true), "{state:?}");
}
