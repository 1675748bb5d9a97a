//! `http://`: a camera that sends an endless multipart answer of JPEGs (Motion JPEG).
//!
//! In: the answer's body, a piece at a time. Out: its whole JPEGs. It touches one connection at a
//! time, and holds one image and one piece.
//!
//! [`mjpeg::Splitter`](super::mjpeg) finds the JPEGs by their own structure. It needs neither
//! boundary nor length, because cameras get these wrong. Bytes between JPEGs are passed over.
//! A login is used only if the camera asks for it ([`login`](super::login)). Redirects are not
//! followed, so that a password goes only to the host that it was given for.

use std::pin::Pin;

use http_auth::PasswordParams;
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
    link::{Link, NO_LOGIN, UNANSWERABLE, Unopened, plain, plain_text},
    login::Asked,
    mjpeg::Splitter,
};
use crate::config::{CameraUrl, Login};

/// Maximum size of an answer's head, and of a piece of its body, in bytes.
const BUFFER: usize = 64 * 1024;

/// The source.
pub struct Http {
    answer: Answer,
    splitter: Splitter,
    link: Link,
}

/// An answer whose body is still coming. Dropping the second part closes the connection.
type Answer = (Response<Incoming>, SendRequest<String>);

impl Http {
    /// Requests the stream. A stop during the request returns [`CameraError::Stopped`].
    pub fn open(
        url: &CameraUrl,
        asked: &mut Asked,
        stop: &CancellationToken,
    ) -> Result<Self, CameraError> {
        let (link, answer) = Link::open(url, stop, begin(url, asked))?;
        Ok(Self { answer, splitter: Splitter::new(MAX_IMAGE), link })
    }
}

impl FrameSource for Http {
    fn next(&mut self) -> Result<Next, CameraError> {
        let mut image = self.splitter.next_frame();
        // One piece at a time, so that a stream of garbage does not delay a stop.
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

/// Returns the next piece of the body, or `None` at its end.
async fn piece(body: &mut Incoming) -> Option<hyper::Result<Bytes>> {
    std::future::poll_fn(|context| {
        let frame = Pin::new(&mut *body).poll_frame(context);
        // Trailers are not part of the stream.
        frame.map(|frame| frame.map(|f| f.map(|f| f.into_data().unwrap_or_default())))
    })
    .await
}

/// Requests the stream, again with a login if the camera asks for one.
async fn begin(url: &CameraUrl, asked: &mut Asked) -> Result<Answer, Unopened> {
    let mut answer = ask(&url.url, None).await?;
    if answer.0.status() == StatusCode::UNAUTHORIZED {
        let Some(login) = &url.login else { return Err(NO_LOGIN.to_owned().into()) };
        let authorization = respond(&answer.0, login, asked, path(&url.url))?;
        answer = ask(&url.url, Some(authorization)).await?;
        // A camera that has locked the account may answer 403.
        if matches!(answer.0.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(Unopened::LoginRefused);
        }
    }
    check(&answer)?;
    Ok(answer)
}

/// Checks that an answer is a stream of JPEGs.
fn check(answer: &Answer) -> Result<(), String> {
    let status = answer.0.status();
    if status.is_redirection() {
        return Err(format!(
            "the camera answers {status}, which is not followed; give the address that it leads to"
        ));
    }
    if status != StatusCode::OK {
        return Err(format!(
            "the camera answers {status}; check the address in the camera's manual"
        ));
    }
    let kind = answer.0.headers().get(header::CONTENT_TYPE).map(HeaderValue::to_str);
    let kind = kind.and_then(Result::ok).unwrap_or("an answer without a type").to_ascii_lowercase();
    if !kind.starts_with("multipart/") && !kind.starts_with("video/") {
        return Err(format!(
            "the camera sends {}, and not a stream of JPEGs (multipart/x-mixed-replace); give the \
             address of its MJPEG stream",
            plain_text(&kind)
        ));
    }
    Ok(())
}

/// Sends one request on a new connection, and returns the answer.
async fn ask(url: &url::Url, authorization: Option<HeaderValue>) -> Result<Answer, String> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = TcpStream::connect((host, port)).await.map_err(|error| {
        format!(
            "the camera cannot be reached: {error}; check that it is on and that this machine can \
             reach it"
        )
    })?;
    let fault = |error: hyper::Error| {
        format!("the camera's answer is not HTTP: {}; check its address", plain(&error))
    };
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

/// Returns the value of the header that answers the camera's request for a login.
fn respond(
    head: &Response<Incoming>,
    login: &Login,
    asked: &mut Asked,
    path: &str,
) -> Result<HeaderValue, String> {
    let challenges = head.headers().get_all(header::WWW_AUTHENTICATE);
    let challenges = challenges.iter().map(|challenge| challenge.to_str().unwrap_or_default());
    let mut client = asked.answer(challenges, login.auth)?;
    let password = login.password.read().map_err(|e| e.to_string())?;
    let params = PasswordParams {
        username: &login.user,
        password: &password,
        uri: path,
        method: "GET",
        body: Some(&[]),
    };
    let response = client.respond(&params).map_err(|_| UNANSWERABLE)?;
    let mut value = HeaderValue::try_from(response).map_err(|_| UNANSWERABLE)?;
    value.set_sensitive(true);
    Ok(value)
}
