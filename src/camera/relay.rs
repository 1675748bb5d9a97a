//! Stands between an RTSP camera and the library retina.
//!
//! In: a camera's address and login. Out: an address on this machine, at which retina finds the
//! camera without a login. It touches one connection to the camera, and one on this machine.
//!
//! retina is strict, answers any challenge, also basic, and says little about a refusal. So it
//! speaks only with this relay. The relay sends retina's requests to the camera, logs in, follows
//! redirects, and asks for UDP where a camera refuses TCP. It writes each answer again
//! ([`dialect`](super::dialect)), and says which fault a refusal is. Packets go to retina as
//! interleaved data, whichever way they came. After PLAY the relay itself answers retina's
//! keepalives, because pictures say more about a camera than its answers.
//!
//! The address on this machine holds a random word, so that no other program can use the relay.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{
        TcpListener,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use url::{Position, Url};

use super::{
    dialect::{self, SESSION},
    head::Head,
    link::{REDIRECTS, Unopened, led_to},
    login::{Answers, Asked},
    messages::{Camera, Message, Order, gone, interleaved, own_answer, read_message, read_request},
    playing::{Keeping, Request, from_camera, keepalives},
    udp::{self, Udp},
};
use crate::config::CameraUrl;

/// Maximum size of the packets that come before the answer to PLAY, in bytes. They may hold the key
/// frame.
const EARLY_MAX: usize = 1024 * 1024;

/// What the relay tells about the camera.
#[derive(Debug, Default)]
struct Told {
    packets: AtomicU64,
    fault: Mutex<Option<Unopened>>,
}

/// A relay that runs.
pub(super) struct Relay {
    /// The address at which it accepts one connection.
    pub address: Url,
    told: Arc<Told>,
}

impl Relay {
    /// Connects to the camera.
    pub async fn open(url: &CameraUrl, asked: &Asked) -> Result<Relay, Unopened> {
        let camera = Camera::connect(&url.url).await?;
        let fault = |e: std::io::Error| format!("cannot relay the stream: {e}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(fault)?;
        let here = listener.local_addr().map_err(fault)?;
        let mut word = [0; 16];
        getrandom::fill(&mut word).map_err(|e| e.to_string())?;
        let origin = format!("rtsp://{here}");
        let door = format!("{origin}/{}", hex::encode(word));
        let address = format!("{door}{}", &url.url[Position::BeforePath..]);
        let address = Url::parse(&address).map_err(|e| e.to_string())?;
        let told = Arc::<Told>::default();
        let relaying = Relaying {
            door,
            origin,
            host: url.url.host_str().unwrap_or_default().to_owned(),
            url: url.url.clone(),
            answers: Answers::new(url.login.as_ref(), asked),
            camera,
            session: None,
            stream: None,
            channel: 0,
            early: Vec::new(),
            order: Order::default(),
            udp: None,
            told: told.clone(),
        };
        tokio::spawn(relaying.run(listener));
        Ok(Relay { address, told })
    }

    /// Returns the number of packets that came from the camera.
    pub fn packets(&self) -> u64 {
        self.told.packets.load(Ordering::Relaxed)
    }

    /// Returns why the relay ended, once.
    pub fn fault(&self) -> Option<Unopened> {
        self.told.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The relay until its camera plays.
struct Relaying {
    /// The relay's address with the random word.
    door: String,
    /// The relay's address.
    origin: String,
    /// The host that gets the login.
    host: String,
    /// The camera's address, after redirects the last one.
    url: Url,
    answers: Answers,
    camera: Camera,
    /// The camera's name of the session.
    session: Option<String>,
    /// The address of the stream that was set up.
    stream: Option<String>,
    /// The interleaved channel of the pictures.
    channel: u8,
    /// Packets that came before the answer to PLAY.
    early: Vec<u8>,
    order: Order,
    udp: Option<Udp>,
    told: Arc<Told>,
}

impl Relaying {
    async fn run(mut self, listener: TcpListener) {
        // A program that does not know the word is refused, and retina is next.
        let (first, mut from, mut to) = loop {
            let Ok((client, _)) = listener.accept().await else { return };
            let (from, to) = client.into_split();
            let mut from = BufReader::new(from);
            match read_request(&mut from).await {
                Ok(first) if first.first.contains(&self.door) => break (first, from, to),
                _ => {}
            }
        };
        drop(listener);
        let told = self.told.clone();
        let ended = match self.until_played(first, &mut from, &mut to).await {
            Ok(()) => self.play(from, &mut to).await,
            Err(fault) => Err(fault),
        };
        // The fault is there before retina sees the end of the connection.
        *told.fault.lock().unwrap_or_else(PoisonError::into_inner) = ended.err();
        drop(to);
    }

    /// Relays requests one after the other, until the camera plays.
    async fn until_played(
        &mut self,
        first: Head,
        from: &mut BufReader<OwnedReadHalf>,
        to: &mut OwnedWriteHalf,
    ) -> Result<(), Unopened> {
        let mut request = first;
        loop {
            let method = request.first.split(' ').next().unwrap_or_default().to_owned();
            let (head, body) = self.ask(&method, &request).await?;
            let (lines, body) = match &*method {
                "DESCRIBE" => dialect::described(&head, &body, &self.url)?,
                "SETUP" => {
                    let (session, lines) = dialect::set_up(&head);
                    self.session = session;
                    self.channel = dialect::channel(&head);
                    (lines, String::new())
                }
                _ => (format!("Session: {SESSION}\r\n"), String::new()),
            };
            let cseq = request.get("CSeq").unwrap_or_default();
            let answer = dialect::answer(cseq, &lines, &body);
            to.write_all(answer.as_bytes()).await.map_err(gone)?;
            if method == "PLAY" {
                to.write_all(&std::mem::take(&mut self.early)).await.map_err(gone)?;
                return Ok(());
            }
            request = read_request(from).await.map_err(gone)?;
        }
    }

    /// Sends a request until the camera accepts it. Returns the answer.
    async fn ask(&mut self, method: &str, request: &Head) -> Result<(Head, Vec<u8>), Unopened> {
        let mut address = match method {
            "DESCRIBE" => self.url.to_string(),
            _ => self.to_camera(request.first.split(' ').nth(1).unwrap_or_default()),
        };
        self.answers.begin();
        let (mut redirects, mut moved) = (0, false);
        loop {
            let request = Request { method, address: &address, fields: request };
            let answer = match self.send(&request).await {
                Ok(()) => self.answer(method).await,
                Err(fault) => Err(fault),
            };
            let (head, body) = match answer {
                Ok(answer) => answer,
                // Some cameras close the connection after a challenge.
                Err(Unopened::Ended) if method == "DESCRIBE" && self.answers.has_answered() => {
                    if moved {
                        return Err(Unopened::LoginHungUp);
                    }
                    moved = true;
                    self.camera = Camera::connect(&self.url).await?;
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            let (status, phrase) = head.status("RTSP").unwrap_or_default();
            let set_up_over_udp = method == "SETUP" && self.udp.is_none() && needs_udp(&head);
            match status {
                200..=299 if !set_up_over_udp => {
                    if method == "SETUP" {
                        self.stream = Some(address);
                        if let Some(udp) = &self.udp {
                            udp.greet(dialect::transport(&head, "server_port")).await;
                        }
                    }
                    return Ok((head, body));
                }
                401 => self.challenged(&head, !moved)?,
                403 if self.answers.is_logged_in() => return Err(Unopened::LoginRefused),
                300..=399 if method == "DESCRIBE" && redirects < REDIRECTS => {
                    self.follow(&head).await?;
                    (redirects, moved) = (redirects + 1, false);
                    address = self.url.to_string();
                }
                300..=399 => {
                    let what = "the camera leads from one address to the other; give the address of \
                                the stream itself";
                    return Err(what.to_owned().into());
                }
                _ if set_up_over_udp => {
                    self.udp = Some(Udp::open(self.camera.here, self.camera.there).await?)
                }
                459 | 460 if method == "PLAY" && self.stream.as_ref() != Some(&address) => {
                    address = self.stream.clone().unwrap_or_default();
                }
                _ => return Err(dialect::refusal(method, status, phrase).into()),
            }
        }
    }

    fn challenged(&mut self, head: &Head, here: bool) -> Result<(), Unopened> {
        let moved_away = self.url.host_str() != Some(&self.host);
        let challenged = self.answers.challenged(head.all("WWW-Authenticate"), here);
        challenged.map_err(|fault| match moved_away {
            true => format!(
                "the camera leads to {}, which asks for a login. The password is given only to the \
                 address in the configuration; give the other address there",
                self.url.host_str().unwrap_or_default()
            )
            .into(),
            false => fault,
        })
    }

    /// Connects to the address to which an answer leads (RFC 2326, 11.3).
    async fn follow(&mut self, head: &Head) -> Result<(), Unopened> {
        self.url = led_to(&self.url, head.get("Location"), "rtsp")?;
        if self.url.host_str() != Some(&self.host) {
            self.answers.leave();
        }
        self.answers.begin();
        self.camera = Camera::connect(&self.url).await?;
        Ok(())
    }

    async fn send(&mut self, request: &Request<'_>) -> Result<(), Unopened> {
        let transport = self.udp.as_ref().map(Udp::transport);
        let session = self.session.as_deref();
        let written =
            request.written(&mut self.camera.cseq, &mut self.answers, session, transport)?;
        self.camera.to.write_all(written.as_bytes()).await.map_err(gone)
    }

    /// Reads the answer to a request. Packets that come before it are kept.
    async fn answer(&mut self, method: &str) -> Result<(Head, Vec<u8>), Unopened> {
        loop {
            match read_message(&mut self.camera.from, method == "DESCRIBE").await? {
                Message::Answer(head, body) => {
                    if head.status("RTSP").is_none_or(|(status, _)| status >= 200) {
                        return Ok((head, body));
                    }
                }
                Message::Packet(channel, packet) => {
                    if method == "PLAY"
                        && channel == self.channel
                        && self.early.len() + packet.len() < EARLY_MAX
                        && self.order.takes(&packet)
                    {
                        self.early.extend(interleaved(&packet));
                    }
                }
                Message::Request(head) => {
                    let answer = own_answer(&head);
                    self.camera.to.write_all(answer.as_bytes()).await.map_err(gone)?;
                }
            }
        }
    }

    /// Returns the camera's address for an address in a request. The camera names most addresses
    /// itself, so they need no change.
    fn to_camera(&self, address: &str) -> String {
        let own = address.strip_prefix(&self.door).or_else(|| address.strip_prefix(&self.origin));
        let camera = &self.url[..Position::BeforePath];
        own.map_or_else(|| address.to_owned(), |path| format!("{camera}{path}"))
    }

    /// Relays packets and keepalives, until either side closes.
    async fn play(
        self,
        from: BufReader<OwnedReadHalf>,
        to: &mut OwnedWriteHalf,
    ) -> Result<(), Unopened> {
        let told = self.told;
        let Camera { from: camera, to: to_camera, cseq, .. } = self.camera;
        let keeping = Keeping::new(to_camera, cseq, self.answers, self.session);
        let (keeping, to) = (tokio::sync::Mutex::new(keeping), tokio::sync::Mutex::new(to));
        let (packets, pictures) = (&told.packets, (self.channel, self.order));
        tokio::select! {
            ended = from_camera(camera, pictures, &keeping, &to, packets) => ended,
            ended = keepalives(from, &keeping, &to) => ended,
            ended = udp::packets(self.udp, &to, packets) => ended,
        }
    }
}

/// Returns whether a camera refuses to send over TCP, or sets up UDP in spite of the request.
fn needs_udp(head: &Head) -> bool {
    let status = head.status("RTSP").map_or(0, |(status, _)| status);
    // 461 says it, and some cameras say it with another status.
    let refuses = matches!(status, 400 | 406 | 451 | 456 | 461 | 500 | 501 | 551);
    let is_udp = || {
        dialect::transport(head, "interleaved").is_none()
            && dialect::transport(head, "server_port").is_some()
    };
    refuses || ((200..300).contains(&status) && is_udp())
}

#[cfg(test)]
mod tests;
