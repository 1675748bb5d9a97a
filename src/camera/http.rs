//! `http://`: a camera that sends an endless multipart answer of JPEGs (Motion JPEG).
//!
//! In: the answer's body, a piece at a time. Out: its whole JPEGs. It touches one connection at a
//! time, and holds one image and one piece.
//!
//! [`mjpeg::Splitter`](super::mjpeg) finds the JPEGs by their own structure. It needs neither
//! boundary nor length, because cameras get these wrong. For the same reason this file speaks
//! HTTP/1 itself: a browser takes heads that a strict library refuses ([`head`](super::head)).
//! Bytes between JPEGs are passed over. A login is used only if the camera asks for it
//! ([`login`](super::login)). It goes only to the host that it was given for, also after a redirect.

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use url::{Position, Url};
use zeroize::Zeroizing;

use super::{
    CameraError, FrameSource, MAX_IMAGE, Next, Picture,
    chunks::Chunks,
    head::{ENDS_AFTER, HEAD_MAX, Head, read_body, read_line, read_rest},
    link::{Link, REDIRECTS, Unopened, led_to, plain_text},
    login::{Answers, Asked},
    mjpeg::Splitter,
};
use crate::config::CameraUrl;

/// Maximum size of a piece of an answer's body, in bytes.
const BUFFER: usize = 64 * 1024;

/// The source.
pub struct Http {
    stream: Body,
    splitter: Splitter,
    link: Link,
}

impl Http {
    /// Requests the stream. A stop during the request returns [`CameraError::Stopped`].
    pub fn open(
        url: &CameraUrl,
        asked: &Asked,
        stop: &CancellationToken,
    ) -> Result<Self, CameraError> {
        let (link, stream) = Link::open(url, stop, begin(url, asked))?;
        Ok(Self { stream, splitter: Splitter::new(MAX_IMAGE), link })
    }
}

impl FrameSource for Http {
    fn next(&mut self) -> Result<Next, CameraError> {
        let mut image = self.splitter.next_frame();
        // One piece at a time, so that a stream of garbage does not delay a stop.
        if image.is_none()
            && let Some(piece) = self.link.read(self.stream.piece())?
        {
            self.splitter.push(&piece);
            image = self.splitter.next_frame();
        }
        Ok(image.map_or(Next::Waiting, |image| Next::Image(Picture::Encoded(image.into()))))
    }

    fn skipped(&self) -> u64 {
        self.splitter.torn()
    }
}

/// The body of an answer that is still coming.
struct Body {
    from: BufReader<TcpStream>,
    /// Takes the frames of chunks away. `None`: the body ends with the connection.
    chunks: Option<Chunks>,
}

impl Body {
    /// Returns the next piece, or `None` at the end.
    async fn piece(&mut self) -> Option<std::io::Result<Vec<u8>>> {
        let piece = match self.from.fill_buf().await {
            Ok([]) => return None,
            Ok(piece) => piece.to_vec(),
            Err(error) => return Some(Err(error)),
        };
        self.from.consume(piece.len());
        match &mut self.chunks {
            Some(chunks) if chunks.is_over() => None,
            Some(chunks) => Some(Ok(chunks.strip(&piece))),
            None => Some(Ok(piece)),
        }
    }
}

/// Requests the stream, again with a login if the camera asks for one, and where it leads to
/// another address.
async fn begin(camera: &CameraUrl, asked: &Asked) -> Result<Body, Unopened> {
    let mut url = camera.url.clone();
    let mut answers = Answers::new(camera.login.as_ref(), asked);
    let (mut open, mut redirects) = (None, 0);
    loop {
        let here = open.is_some();
        let mut from = match open.take() {
            Some(from) => from,
            None => connect(&url).await?,
        };
        let path = &url[Position::BeforePath..Position::AfterQuery];
        let authorization = answers.authorization("GET", path)?;
        let head = match ask(&mut from, &url, authorization).await {
            Ok(head) => head,
            // The camera closed the connection on which it had asked for the login.
            Err(Unopened::Ended) if here => continue,
            Err(Unopened::Ended) if answers.has_answered() => return Err(Unopened::LoginHungUp),
            Err(fault) => return Err(fault),
        };
        let (status, phrase) = head.status("HTTP").unwrap_or_default();
        match status {
            401 => {
                let moved_away = url.host_str() != camera.url.host_str();
                let challenged = answers.challenged(head.all("WWW-Authenticate"), here);
                challenged.map_err(|fault| if moved_away { foreign(&url) } else { fault })?;
                // A nonce may be valid on this connection only.
                open = kept(&head, from).await;
            }
            // A camera that has locked the account may answer 403.
            403 if answers.is_logged_in() => return Err(Unopened::LoginRefused),
            301 | 302 | 303 | 307 | 308 if redirects < REDIRECTS => {
                url = led_to(&url, head.get("Location"), "http")?;
                if url.host_str() != camera.url.host_str() {
                    answers.leave();
                }
                answers.begin();
                redirects += 1;
            }
            200 => return stream(&head, from).await,
            _ => return Err(refusal(status, phrase).into()),
        }
    }
}

fn foreign(url: &Url) -> Unopened {
    format!(
        "the camera leads to {}, which asks for a login. The password is given only to the address \
         in the configuration; give the other address there",
        url.host_str().unwrap_or_default()
    )
    .into()
}

/// Returns what a status means, and what to do.
fn refusal(status: u16, phrase: &str) -> String {
    let remedy = match status {
        300..400 => "it leads from one address to the other; give the address of the stream itself",
        403 => "allow this machine in its settings, or give username and password",
        429 | 503 => "it is busy, or serves no further viewer: close other viewers of it",
        500..600 => "this is a fault in the camera; restart it, and update its firmware",
        _ => "check the address in the camera's manual",
    };
    let answer = format!("{status} {}", plain_text(phrase));
    format!("the camera answers {}; {remedy}", answer.trim_end())
}

/// Returns the connection after an answer, if it can be used again.
async fn kept(head: &Head, mut from: BufReader<TcpStream>) -> Option<BufReader<TcpStream>> {
    let says =
        |word: &str| head.all("Connection").any(|value| value.to_ascii_lowercase().contains(word));
    let stays = !says("close") && (says("keep-alive") || head.first.starts_with("HTTP/1.1"));
    if !stays {
        return None;
    }
    if is_chunked(head) {
        let (mut chunks, mut read) = (Chunks::default(), 0);
        while !chunks.is_over() && read < HEAD_MAX {
            let piece = from.fill_buf().await.ok()?;
            chunks.strip(piece);
            let count = piece.len();
            from.consume(count);
            // The connection ends within the body.
            if count == 0 {
                return None;
            }
            read += count;
        }
        return chunks.is_over().then_some(from);
    }
    let length = head.content_length().filter(|length| *length <= HEAD_MAX as u64)?;
    let body = read_body(&mut from, Some(length)).await.ok()?;
    (body.len() as u64 == length).then_some(from)
}

fn is_chunked(head: &Head) -> bool {
    head.all("Transfer-Encoding").any(|value| value.to_ascii_lowercase().contains("chunked"))
}

/// Checks that an answer is a stream of JPEGs, and returns its body.
async fn stream(head: &Head, mut from: BufReader<TcpStream>) -> Result<Body, Unopened> {
    let kind = head.get("Content-Type").unwrap_or_default().to_ascii_lowercase();
    let encoding = head.get("Content-Encoding").unwrap_or_default().to_ascii_lowercase();
    if ["gzip", "deflate", "br", "zstd", "compress"].iter().any(|packed| encoding.contains(packed))
    {
        return Err(
            "the camera packs its answer, which pictures do not need; switch compression off \
                    in its web server"
                .to_owned()
                .into(),
        );
    }
    let chunks = is_chunked(head).then(Chunks::default);
    let named = kind.starts_with("multipart/") || kind.starts_with("video/");
    let is_stream = named || begins_stream(&mut from, kind.starts_with("image/")).await;
    if !is_stream {
        let kind = if kind.is_empty() { "an answer without a type" } else { &kind };
        return Err(format!(
            "the camera sends {}, and not a stream of JPEGs (multipart/x-mixed-replace); give the \
             address of its MJPEG stream",
            plain_text(kind)
        )
        .into());
    }
    Ok(Body { from, chunks })
}

/// Returns whether a body of another type, or without a type, is a stream: it begins with a boundary,
/// or with a JPEG that the answer does not call one picture.
async fn begins_stream(from: &mut BufReader<TcpStream>, is_picture: bool) -> bool {
    let Ok(Ok(first)) = timeout(ENDS_AFTER, from.fill_buf()).await else { return false };
    // A chunk's size may come first.
    let line = first.iter().position(|byte| *byte == b'\n').filter(|line| *line < 20);
    let behind = line.and_then(|line| first.get(line + 1..)).unwrap_or_default();
    [first, behind].iter().any(|first| {
        let first = first.trim_ascii_start();
        first.starts_with(b"--") || (!is_picture && first.starts_with(b"\xff\xd8"))
    })
}

async fn connect(url: &Url) -> Result<BufReader<TcpStream>, String> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = TcpStream::connect((host, port)).await.map_err(|error| {
        format!(
            "the camera cannot be reached: {error}; check that it is on and that this machine can \
             reach it"
        )
    })?;
    Ok(BufReader::with_capacity(BUFFER, stream))
}

/// Sends one request, and returns the answer's head.
async fn ask(
    from: &mut BufReader<TcpStream>,
    url: &Url,
    authorization: Option<Zeroizing<String>>,
) -> Result<Head, Unopened> {
    let mut request = Zeroizing::new(format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: gatehouse\r\nAccept: */*\r\n",
        &url[Position::BeforePath..Position::AfterQuery],
        &url[Position::BeforeHost..Position::AfterPort],
    ));
    if let Some(authorization) = authorization {
        request.push_str("Authorization: ");
        request.push_str(&authorization);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    let ended = |_| Unopened::Ended;
    from.get_mut().write_all(request.as_bytes()).await.map_err(ended)?;
    loop {
        let head = head(from).await?;
        // Answers before the final one (RFC 9110, 15.2).
        if head.status("HTTP").is_none_or(|(status, _)| status >= 200) {
            return Ok(head);
        }
    }
}

async fn head(from: &mut BufReader<TcpStream>) -> Result<Head, Unopened> {
    let fault = |why: &str| -> Unopened {
        format!("the camera's answer is not HTTP: {why}; check its address and port").into()
    };
    let read = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::InvalidData => fault("its head has no end"),
        _ => Unopened::Ended,
    };
    let mut bytes = Vec::new();
    // Empty lines before it may be the end of another body.
    while bytes.trim_ascii().is_empty() {
        read_line(from, &mut bytes).await.map_err(read)?;
    }
    let bytes_before = bytes.len() - bytes.trim_ascii_start().len();
    bytes.drain(..bytes_before);
    if Head::parse(&bytes).status("HTTP").is_none() {
        let line = String::from_utf8_lossy(&bytes);
        return Err(fault(&format!("it begins with {:?}", plain_text(&line))));
    }
    read_rest(from, &mut bytes).await.map_err(read)?;
    Ok(Head::parse(&bytes))
}
