//! Relays an RTSP camera that plays: its packets to retina, and retina's keepalives to the camera.
//!
//! In: two open connections. Out: packets, requests, and the answers to retina. It touches the two
//! connections.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    sync::Mutex,
};
use zeroize::Zeroizing;

use super::{
    dialect,
    head::Head,
    link::Unopened,
    login::Answers,
    messages::{Message, Order, gone, interleaved, own_answer, read_message, read_request},
};

/// A request of retina's, for the camera.
pub(super) struct Request<'a> {
    pub method: &'a str,
    pub address: &'a str,
    pub fields: &'a Head,
}

impl Request<'_> {
    /// Returns its text, with the next number and the answer to the camera's challenge.
    pub fn written(
        &self,
        cseq: &mut u32,
        answers: &mut Answers,
        session: Option<&str>,
        transport: Option<String>,
    ) -> Result<Zeroizing<String>, String> {
        *cseq += 1;
        let Request { method, address, fields } = self;
        let mut text = Zeroizing::new(format!("{method} {address} RTSP/1.0\r\n"));
        text.push_str(&format!("CSeq: {cseq}\r\n"));
        if let Some(authorization) = answers.authorization(method, address)? {
            text.push_str("Authorization: ");
            text.push_str(&authorization);
            text.push_str("\r\n");
        }
        for (name, value) in fields.fields() {
            let value = match &*name.to_ascii_lowercase() {
                "cseq" => continue,
                "session" => match session {
                    Some(session) => session,
                    None => continue,
                },
                "transport" => transport.as_deref().unwrap_or(value),
                _ => value,
            };
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        Ok(text)
    }
}

/// The requests to a camera that plays.
pub(super) struct Keeping {
    to: OwnedWriteHalf,
    cseq: u32,
    answers: Answers,
    session: Option<String>,
    /// The last keepalive.
    last: Option<Head>,
    /// The methods that the camera names.
    public: String,
}

impl Keeping {
    pub fn new(to: OwnedWriteHalf, cseq: u32, answers: Answers, session: Option<String>) -> Self {
        Self { to, cseq, answers, session, last: None, public: String::new() }
    }

    async fn send(&mut self, head: &Head) -> Result<(), Unopened> {
        let mut words = head.first.split(' ');
        let (method, address) =
            (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let request = Request { method, address, fields: head };
        let session = self.session.as_deref();
        let written = request.written(&mut self.cseq, &mut self.answers, session, None)?;
        self.to.write_all(written.as_bytes()).await.map_err(gone)
    }
}

/// Sends the camera's packets to retina. Its answers to keepalives are not passed on.
pub(super) async fn from_camera(
    mut camera: BufReader<OwnedReadHalf>,
    (pictures, mut order): (u8, Order),
    keeping: &Mutex<Keeping>,
    to: &Mutex<&mut OwnedWriteHalf>,
    packets: &AtomicU64,
) -> Result<(), Unopened> {
    loop {
        match read_message(&mut camera, false).await? {
            // Reports (RTCP) are not needed, and other channels were not asked for.
            Message::Packet(channel, packet) => {
                if channel == pictures && order.takes(&packet) {
                    packets.fetch_add(1, Ordering::Relaxed);
                    to.lock().await.write_all(&interleaved(&packet)).await.map_err(gone)?;
                }
            }
            Message::Answer(head, _) => {
                let mut keeping = keeping.lock().await;
                if let Some(public) = head.get("Public") {
                    keeping.public = public.to_owned();
                }
                let is_refused = head.status("RTSP").is_some_and(|(status, _)| status == 401);
                // A nonce that has become stale is replaced. A refusal is not repeated.
                if is_refused
                    && keeping.answers.challenged(head.all("WWW-Authenticate"), true).is_ok()
                    && let Some(last) = keeping.last.clone()
                {
                    keeping.send(&last).await?;
                }
            }
            Message::Request(head) => {
                let answer = own_answer(&head);
                keeping.lock().await.to.write_all(answer.as_bytes()).await.map_err(gone)?;
            }
        }
    }
}

/// Sends retina's keepalives to the camera, and answers them.
pub(super) async fn keepalives(
    mut from: BufReader<OwnedReadHalf>,
    keeping: &Mutex<Keeping>,
    to: &Mutex<&mut OwnedWriteHalf>,
) -> Result<(), Unopened> {
    loop {
        let request = read_request(&mut from).await.map_err(gone)?;
        let lines = {
            let mut keeping = keeping.lock().await;
            keeping.answers.begin();
            keeping.send(&request).await?;
            keeping.last = Some(request.clone());
            match keeping.public.is_empty() {
                true => String::new(),
                false => format!("Public: {}\r\n", keeping.public),
            }
        };
        let cseq = request.get("CSeq").unwrap_or_default();
        let answer = dialect::answer(cseq, &lines, "");
        to.lock().await.write_all(answer.as_bytes()).await.map_err(gone)?;
    }
}
