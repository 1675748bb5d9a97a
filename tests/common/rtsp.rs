//! An RTSP camera whose answers the test changes. Its pictures are H.264 of x264 (ffmpeg).

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use base64::Engine;

/// Interval between two pictures.
const PERIOD: Duration = Duration::from_millis(50);
/// Largest payload of a packet, in bytes.
const PAYLOAD: usize = 1200;

/// A stream of H.264: the NAL units of each picture.
#[derive(Clone)]
pub struct Film {
    pub pictures: Vec<Vec<Vec<u8>>>,
    /// Whether the SDP holds the parameter sets. They are in the stream in any case.
    pub announced: bool,
}

impl Film {
    /// Encodes 40 pictures of 320 x 240 with these parameters of x264, such as `keyint=10`.
    pub fn encode(x264: &str) -> Film {
        Film::encode_as("yuv420p", x264)
    }

    /// As `encode`, with this format of the samples.
    pub fn encode_as(samples: &str, x264: &str) -> Film {
        let always = "scenecut=0:slices=1:threads=1:annexb=1:repeat-headers=1";
        let made = Command::new("ffmpeg")
            .args("-nostdin -v error -f lavfi -i testsrc=size=320x240:rate=20".split(' '))
            .args("-frames:v 40 -c:v libx264 -preset ultrafast -pix_fmt".split(' '))
            .arg(samples)
            .args("-tune zerolatency -x264-params".split(' '))
            .arg(format!("{always}:{x264}"))
            .args(["-f", "h264", "-"])
            .stderr(Stdio::inherit())
            .output();
        let made = made.unwrap_or_else(|e| panic!("cannot run ffmpeg: {e}; run tests/run"));
        assert!(made.status.success(), "ffmpeg fails");
        let mut pictures = vec![Vec::new()];
        for unit in units(&made.stdout) {
            let is_picture = matches!(unit[0] & 31, 1 | 5);
            pictures.last_mut().unwrap().push(unit);
            if is_picture {
                pictures.push(Vec::new());
            }
        }
        pictures.pop();
        assert_eq!(pictures.len(), 40);
        Film { pictures, announced: true }
    }

    fn parameters(&self) -> String {
        let find = |kind| self.pictures[0].iter().find(|unit| unit[0] & 31 == kind).unwrap();
        let encode = |unit: &Vec<u8>| base64::engine::general_purpose::STANDARD.encode(unit);
        format!("{},{}", encode(find(7)), encode(find(8)))
    }
}

/// Returns the NAL units of a stream in Annex B form.
fn units(stream: &[u8]) -> Vec<Vec<u8>> {
    let starts: Vec<_> = (0..stream.len().saturating_sub(2))
        .filter(|at| stream[*at..].starts_with(&[0, 0, 1]))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    let unit = |(start, end): (&usize, usize)| {
        let unit = &stream[start + 3..end];
        let zeros = unit.iter().rev().take_while(|byte| **byte == 0).count();
        unit[..unit.len() - zeros].to_vec()
    };
    starts.iter().zip(ends).map(unit).collect()
}

/// A request to the camera.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: String,
    pub uri: String,
    pub fields: HashMap<String, String>,
    /// Number of its connection, from 0.
    pub connection: usize,
}

impl Ask {
    /// Returns a field by its name in lower case, or nothing.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// Returns an answer with this status and these lines, such as `"404 Not Found"`.
    pub fn answer(&self, status: &str, lines: &str) -> String {
        format!("RTSP/1.0 {status}\r\nCSeq: {}\r\n{lines}\r\n", self.field("cseq"))
    }

    pub fn read(from: &mut impl BufRead, connection: usize) -> Option<Ask> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut words = lines.first()?.split(' ');
        let (method, uri) = (words.next()?.to_owned(), words.next()?.to_owned());
        let fields = lines[1..].iter().filter_map(|line| line.split_once(':'));
        let fields = fields.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
        Some(Ask { method, uri, fields: fields.collect(), connection })
    }
}

/// Changes an answer. An empty answer closes the connection.
pub type Dialect = Arc<dyn Fn(&Ask, String) -> String + Send + Sync>;

/// The camera. Dropping this value ends it.
pub struct Rtsp {
    pub port: u16,
    pub connections: Arc<AtomicUsize>,
    pub asks: Arc<Mutex<Vec<Ask>>>,
    /// Whether key frames are sent.
    pub keys: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Rtsp {
    pub fn start(
        film: &Film,
        dialect: impl Fn(&Ask, String) -> String + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let camera = Served {
            film: film.clone(),
            dialect: Arc::new(dialect),
            asks: Arc::default(),
            keys: Arc::new(AtomicBool::new(true)),
            over: Arc::default(),
        };
        let connections = Arc::<AtomicUsize>::default();
        let (asks, keys, over) = (camera.asks.clone(), camera.keys.clone(), camera.over.clone());
        let count = connections.clone();
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if camera.over.load(Ordering::Relaxed) {
                    break;
                }
                let (camera, n) = (camera.clone(), count.fetch_add(1, Ordering::Relaxed));
                std::thread::spawn(move || camera.serve(stream, n));
            }
        });
        Self { port, connections, asks, keys, over, thread: Some(thread) }
    }

    pub fn address(&self, login: &str) -> String {
        format!("rtsp://{login}127.0.0.1:{}/cam", self.port)
    }
}

impl Drop for Rtsp {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[derive(Clone)]
struct Served {
    film: Film,
    dialect: Dialect,
    asks: Arc<Mutex<Vec<Ask>>>,
    keys: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Served {
    fn serve(&self, stream: TcpStream, connection: usize) {
        let to = Arc::new(Mutex::new(stream.try_clone().unwrap()));
        let mut from = BufReader::new(stream.try_clone().unwrap());
        // Where packets go over UDP, the client's port.
        let mut udp = None;
        while let Some(ask) = Ask::read(&mut from, connection) {
            self.asks.lock().unwrap().push(ask.clone());
            if let Some((_, ports)) = ask.field("transport").split_once("client_port=") {
                udp = ports.split('-').next().and_then(|port| port.parse::<u16>().ok());
            }
            let answer = (self.dialect)(&ask, self.usual(&ask));
            if answer.is_empty() {
                break;
            }
            let sent = to.lock().unwrap().write_all(answer.as_bytes());
            if sent.is_err() {
                break;
            }
            if ask.method == "PLAY" && answer.contains(" 200") {
                let (served, to) = (self.clone(), to.clone());
                std::thread::spawn(move || served.play(&to, udp));
            }
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }

    /// Returns the answer by the book.
    fn usual(&self, ask: &Ask) -> String {
        match &*ask.method {
            "DESCRIBE" => {
                let parameters = match self.film.announced {
                    true => format!(";sprop-parameter-sets={}", self.film.parameters()),
                    false => String::new(),
                };
                let sdp = format!(
                    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=cam\r\nt=0 0\r\na=control:*\r\n\
                     m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
                     a=fmtp:96 packetization-mode=1{parameters}\r\na=control:trackID=1\r\n"
                );
                let lines = format!(
                    "Content-Base: {}/\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n",
                    ask.uri,
                    sdp.len()
                );
                ask.answer("200 OK", &lines) + &sdp
            }
            "SETUP" => {
                let more = match ask.field("transport").contains("client_port") {
                    true => ";server_port=50000-50001",
                    false => "",
                };
                let transport = ask.field("transport");
                let lines =
                    format!("Session: 12345678;timeout=60\r\nTransport: {transport}{more}\r\n");
                ask.answer("200 OK", &lines)
            }
            "OPTIONS" => ask.answer("200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n"),
            _ => ask.answer("200 OK", "Session: 12345678\r\n"),
        }
    }

    fn play(&self, to: &Mutex<TcpStream>, udp: Option<u16>) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (mut number, mut time) = (65_500_u16, 0_u32);
        // The first picture of each turn is a key frame, unless x264 makes none.
        for picture in self.film.pictures.iter().cycle() {
            let is_key = picture.iter().any(|unit| unit[0] & 31 == 5);
            if is_key && !self.keys.load(Ordering::Relaxed) {
                continue;
            }
            for (at, unit) in picture.iter().enumerate() {
                for (payload, ends) in payloads(unit) {
                    let marker = u8::from(ends && at + 1 == picture.len()) << 7;
                    let packet = [
                        &[0x80, marker | 96][..],
                        &number.to_be_bytes(),
                        &time.to_be_bytes(),
                        &7_u32.to_be_bytes(),
                        &payload,
                    ]
                    .concat();
                    number = number.wrapping_add(1);
                    let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
                    let sent = match udp {
                        Some(port) => socket.send_to(&packet, ("127.0.0.1", port)).map(drop),
                        None => {
                            let data = [&[b'$', 0][..], &length, &packet].concat();
                            to.lock().unwrap().write_all(&data)
                        }
                    };
                    if sent.is_err() || self.over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
            time = time.wrapping_add(4500);
            std::thread::sleep(PERIOD);
        }
    }
}

/// Returns the payloads of a NAL unit (RFC 6184), and for each one whether it is the last.
fn payloads(unit: &[u8]) -> Vec<(Vec<u8>, bool)> {
    if unit.len() <= PAYLOAD {
        return vec![(unit.to_vec(), true)];
    }
    let pieces: Vec<_> = unit[1..].chunks(PAYLOAD).collect();
    let payload = |(n, piece): (usize, &&[u8])| {
        let ends = n + 1 == pieces.len();
        let marks = u8::from(n == 0) << 7 | u8::from(ends) << 6;
        ([&[(unit[0] & 0xe0) | 28, marks | (unit[0] & 31)][..], piece].concat(), ends)
    };
    pieces.iter().enumerate().map(payload).collect()
}
