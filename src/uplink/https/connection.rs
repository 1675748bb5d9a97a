//! One connection of HTTP/1.1: POST requests, one after the other.

use std::{
    convert::Infallible,
    error::Error,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper::{
    Method, StatusCode,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    client::conn::http1::{SendRequest, handshake},
    header::{ACCEPT, CONTENT_TYPE, HOST, LOCATION, USER_AGENT},
    rt::{Read, Write},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tokio_util::task::AbortOnDropHandle;

use super::ANSWER_MAX;
use crate::{
    clock::Stamp,
    config::PlatformUrl,
    uplink::{profiles::Request, tls::Safety},
};

/// Timeout for TCP and TLS together.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Timeout for a request and its answer. A request of 512 KiB takes half a minute at 150 kbit/s.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Maximum length of a redirect's target in a message, in characters.
const SHOWN: usize = 100;

pub(super) struct Connection {
    sender: SendRequest<Sent>,
    _driver: AbortOnDropHandle<()>,
}

/// An answer of the platform.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    /// The target of a redirect, for people.
    pub location: Option<String>,
    pub body: Vec<u8>,
}

impl Connection {
    /// Connects. The error says why the platform cannot be reached.
    pub async fn open(
        url: &PlatformUrl,
        safety: &Safety,
        now: &Stamp,
    ) -> Result<Connection, String> {
        let late =
            |_| format!("it does not accept a connection within {} s", CONNECT_WITHIN.as_secs());
        timeout(CONNECT_WITHIN, connect(url, safety))
            .await
            .map_err(late)?
            .map_err(|error| safety.explain(url, &*error, now))
    }

    /// Returns whether the other side has not closed it.
    pub fn is_usable(&mut self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends a request and reads its answer. After an error the connection cannot be used.
    pub async fn post(
        &mut self,
        url: &PlatformUrl,
        request: Request,
        safety: &Safety,
        now: &Stamp,
    ) -> Result<Answer, String> {
        let late = |_| format!("it does not answer within {} s", ANSWER_WITHIN.as_secs());
        timeout(ANSWER_WITHIN, self.answer(url, request)).await.map_err(late)?.map_err(|problem| {
            match problem {
                Problem::TooLarge => format!(
                    "its answer has more than {ANSWER_MAX} bytes, and is not read: check the url"
                ),
                Problem::Failed(error) => safety.explain(url, &*error, now),
            }
        })
    }

    async fn answer(&mut self, url: &PlatformUrl, request: Request) -> Result<Answer, Problem> {
        let path = match &*request.path {
            "" => url.path().to_owned(),
            more => format!("{}{more}", url.path().trim_end_matches('/')),
        };
        let post = hyper::Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, url.authority())
            .header(USER_AGENT, concat!("gatehouse/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, request.content_type)
            .body(Sent(Some(Bytes::from_owner(request.body))))
            .map_err(|error| Problem::Failed(error.into()))?;
        let answer = self.sender.send_request(post).await?;
        let (head, mut rest) = answer.into_parts();
        let location = head.headers.get(LOCATION).and_then(|to| to.to_str().ok());
        let location = location.map(|to| to.chars().take(SHOWN).collect());
        let mut body = Vec::new();
        if rest.size_hint().lower() > ANSWER_MAX as u64 {
            return Err(Problem::TooLarge);
        }
        while let Some(frame) = next(&mut rest).await {
            let Ok(piece) = frame?.into_data() else { continue };
            if body.len() + piece.len() > ANSWER_MAX {
                return Err(Problem::TooLarge);
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer { status: head.status, location, body })
    }
}

enum Problem {
    TooLarge,
    Failed(Box<dyn Error + Send + Sync>),
}

impl From<hyper::Error> for Problem {
    fn from(error: hyper::Error) -> Problem {
        Problem::Failed(error.into())
    }
}

async fn next(body: &mut Incoming) -> Option<Result<Frame<Bytes>, hyper::Error>> {
    std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

async fn connect(
    url: &PlatformUrl,
    safety: &Safety,
) -> Result<Connection, Box<dyn Error + Send + Sync>> {
    let config = safety.config(url.tls())?;
    let host = url.host();
    let stream = TcpStream::connect((host.as_str(), url.port())).await?;
    // A call is one small message, for which the platform's answer is awaited.
    stream.set_nodelay(true)?;
    match config {
        None => begin(TokioIo::new(stream)).await,
        Some(config) => {
            let name = ServerName::try_from(host)?;
            begin(TokioIo::new(TlsConnector::from(config).connect(name, stream).await?)).await
        }
    }
}

async fn begin(
    stream: impl Read + Write + Unpin + Send + 'static,
) -> Result<Connection, Box<dyn Error + Send + Sync>> {
    let (sender, driver) = handshake(stream).await?;
    // Its error reaches the request.
    let driver = tokio::spawn(async move { driver.await.unwrap_or_default() });
    Ok(Connection { sender, _driver: AbortOnDropHandle::new(driver) })
}

/// The body of a request.
struct Sent(Option<Bytes>);

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
