//! `http://`: a camera that sends JPEGs without end, as a multipart answer (Motion JPEG).
//!
//! In: the answer's body, a piece at a time. Out: its JPEGs, whole, by
//! [`mjpeg::Splitter`](super::mjpeg): it finds them by their own structure and so needs neither
//! boundary nor length, which cameras get wrong; what stands between them is passed over. Held at
//! once: one image and one piece. Basic and digest authentication, each only where the camera asks
//! for it. Redirects are not followed: a password goes to the host that it was given for.

use std::pin::Pin;

use http_auth::{PasswordClient, PasswordParams};
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
    header::{self, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use url::Position;

use super::{
    CameraError, FrameSource, MAX_IMAGE, Next, Picture,
    link::{Link, plain, plain_text},
    mjpeg::Splitter,
};
use crate::config::{CameraUrl, Login};

/// Of an answer's head, and read at once of its body.
const BUFFER: usize = 64 * 1024;

/// The source.
pub struct Http {
    answer: Answer,
    splitter: Splitter,
    link: Link,
}

/// An answer whose body is still coming. The connection is closed with the second.
type Answer = (Response<Incoming>, SendRequest<String>);

impl Http {
    /// Asks for the stream. A stop while it does so is [`CameraError::Stopped`].
    pub fn open(url: &CameraUrl, stop: &CancellationToken) -> Result<Self, CameraError> {
        let (link, answer) = Link::open(url, stop, begin(url))?;
        Ok(Self { answer, splitter: Splitter::new(MAX_IMAGE), link })
    }
}

impl FrameSource for Http {
    fn next(&mut self) -> Result<Next, CameraError> {
        let mut image = self.splitter.next_frame();
        // One piece at a time: a stream of garbage does not hold up a stop.
        if image.is_none()
            && let Some(piece) = self.link.read(piece(self.answer.0.body_mut()))?
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

/// More of the body; `None` at its end.
async fn piece(body: &mut Incoming) -> Option<hyper::Result<Bytes>> {
    std::future::poll_fn(|context| {
        let frame = Pin::new(&mut *body).poll_frame(context);
        // Trailers are no bytes of the stream.
        frame.map(|frame| frame.map(|f| f.map(|f| f.into_data().unwrap_or_default())))
    })
    .await
}

/// Asks for the stream, with a login where it is asked for.
async fn begin(url: &CameraUrl) -> Result<Answer, String> {
    let mut answer = ask(&url.url, None).await?;
    if answer.0.status() == StatusCode::UNAUTHORIZED {
        let Some(login) = &url.login else {
            return Err("it asks for a login; put one into its address: \
                        http://USER:PASSWORD@HOST/…"
                .to_owned());
        };
        let authorization = respond(&answer.0, login, path(&url.url))?;
        answer = ask(&url.url, Some(authorization)).await?;
        if answer.0.status() == StatusCode::UNAUTHORIZED {
            return Err("it refuses the login; check user and password".to_owned());
        }
    }
    let status = answer.0.status();
    if status.is_redirection() {
        return Err(format!(
            "it answers {status}, which is not followed; give the address that it leads to"
        ));
    }
    if status != StatusCode::OK {
        return Err(format!("it answers {status}; check the address in the camera's manual"));
    }
    let kind = answer.0.headers().get(header::CONTENT_TYPE).map(HeaderValue::to_str);
    let kind = kind.and_then(Result::ok).unwrap_or("nothing that has a type").to_ascii_lowercase();
    if !kind.starts_with("multipart/") && !kind.starts_with("video/") {
        return Err(format!(
            "it sends {}, and not a stream of JPEGs (multipart/x-mixed-replace); give the address \
             of its MJPEG stream",
            plain_text(&kind)
        ));
    }
    Ok(answer)
}

/// One request on a connection of its own.
async fn ask(url: &url::Url, authorization: Option<HeaderValue>) -> Result<Answer, String> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = TcpStream::connect((host, port)).await.map_err(|error| {
        format!("it cannot be reached: {error}; see whether it is on, and reached from here")
    })?;
    let fault = |error: hyper::Error| format!("its answer is not HTTP: {}", plain(&error));
    let (mut requests, connection) = http1::Builder::new()
        .max_buf_size(BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(fault)?;
    tokio::spawn(connection);
    let mut request = Request::get(path(url))
        .header(header::HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(header::USER_AGENT, "gatehouse");
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let request = request.body(String::new()).map_err(|error| plain(&error))?;
    let answer = requests.send_request(request).await.map_err(fault)?;
    Ok((answer, requests))
}

fn path(url: &url::Url) -> &str {
    &url[Position::BeforePath..Position::AfterQuery]
}

/// What answers the camera's question for a login.
fn respond(head: &Response<Incoming>, login: &Login, path: &str) -> Result<HeaderValue, String> {
    let unknown = |_| {
        "it asks for a login of a kind that is not known here; set it to digest or basic".to_owned()
    };
    let mut client = PasswordClient::builder();
    for challenge in head.headers().get_all(header::WWW_AUTHENTICATE) {
        client = client.challenges(challenge.to_str().unwrap_or_default());
    }
    let params = PasswordParams {
        username: &login.user,
        password: &login.password,
        uri: path,
        method: "GET",
        body: Some(&[]),
    };
    let response = client.build().and_then(|mut c| c.respond(&params)).map_err(unknown)?;
    let mut value = HeaderValue::try_from(response)
        .map_err(|_| "its user or password cannot be sent: they hold control characters")?;
    value.set_sensitive(true);
    Ok(value)
}
