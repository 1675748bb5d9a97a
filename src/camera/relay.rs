//! Logs in to an RTSP camera for the library retina.
//!
//! In: a camera's address and login. Out: an address on this machine, at which retina finds the
//! camera without a login. It touches one connection to the camera, and one on this machine.
//!
//! retina answers any challenge, also basic, so it never gets the password. This relay asks the
//! camera for its challenge, and adds the answer to each of retina's requests. The camera's bytes
//! go to retina as they are. The address on this machine holds a random word, so that no other
//! program can use the relay.

use std::net::Ipv4Addr;

use http_auth::{PasswordClient, PasswordParams};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use url::{Position, Url};
use zeroize::Zeroizing;

use super::{
    link::{UNANSWERABLE, Unopened},
    login::Asked,
};
use crate::config::Login;

/// Maximum size of a message's head, and of the body of the first answer, in bytes.
const MESSAGE_MAX: u64 = 64 * 1024;
/// The port of RTSP (RFC 2326, 3.2).
const RTSP_PORT: u16 = 554;

/// Connects to the camera. Returns the address at which the relay accepts one connection.
pub(super) async fn logged_in(
    url: &Url,
    login: &Login,
    asked: &mut Asked,
) -> Result<Url, Unopened> {
    let fault = |e: std::io::Error| {
        format!(
            "the camera cannot be reached: {e}; check that it is on and that this machine can reach it"
        )
    };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port().unwrap_or(RTSP_PORT);
    let camera = TcpStream::connect((host, port)).await.map_err(fault)?;
    let (from_camera, mut to_camera) = camera.into_split();
    let mut from_camera = BufReader::new(from_camera);
    let request = format!(
        "DESCRIBE {url} RTSP/1.0\r\nCSeq: 0\r\nAccept: application/sdp\r\nUser-Agent: gatehouse\r\n\r\n"
    );
    to_camera.write_all(request.as_bytes()).await.map_err(fault)?;
    let answer = first_answer(&mut from_camera).await.map_err(fault)?;
    let mut authority = Authority::default();
    if status(&answer) == Some(401) {
        let challenges = answer.lines().filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("WWW-Authenticate").then_some(value.trim())
        });
        let client = asked.answer(challenges, login.auth)?;
        let password = login.password.read().map_err(|e| e.to_string())?;
        authority = Authority(Some((client, login.user.clone(), password)));
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(fault)?;
    let here = listener.local_addr().map_err(fault)?;
    let mut word = [0; 16];
    getrandom::fill(&mut word).map_err(|e| e.to_string())?;
    let origin = format!("rtsp://{here}");
    let route = Route {
        door: format!("{origin}/{}", hex::encode(word)),
        origin,
        camera: url[..Position::BeforePath].to_owned(),
    };
    let address = format!("{}{}", route.door, &url[Position::BeforePath..]);
    let address = Url::parse(&address).map_err(|e| e.to_string())?;
    tokio::spawn(relay(listener, route, authority, from_camera, to_camera));
    Ok(address)
}

/// Reads the answer to the first request. Returns its head.
async fn first_answer(camera: &mut BufReader<OwnedReadHalf>) -> std::io::Result<String> {
    let head = head(camera).await?;
    let body = content_length(&head).min(MESSAGE_MAX);
    tokio::io::copy(&mut camera.take(body), &mut tokio::io::sink()).await?;
    Ok(head)
}

/// Reads the head of a message, up to its empty line.
async fn head(from: &mut BufReader<OwnedReadHalf>) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut from = from.take(MESSAGE_MAX);
    while !head.ends_with(b"\r\n\r\n") {
        if from.read_until(b'\n', &mut head).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn status(head: &str) -> Option<u16> {
    head.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn content_length(head: &str) -> u64 {
    let value = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("Content-Length").then(|| value.trim().parse().ok())?
    };
    head.lines().find_map(value).unwrap_or(0)
}

/// Where retina's requests go.
struct Route {
    /// The relay's address with the random word.
    door: String,
    /// The relay's address.
    origin: String,
    /// The camera's address without a path.
    camera: String,
}

impl Route {
    /// Returns the camera's address for an address in a request. The camera names most addresses
    /// itself, so they need no change.
    fn to_camera(&self, address: &str) -> String {
        let own = address.strip_prefix(&self.door).or_else(|| address.strip_prefix(&self.origin));
        own.map_or_else(|| address.to_owned(), |path| format!("{}{path}", self.camera))
    }
}

/// Answers the camera's challenge, with user and password. `None`: the camera asks for no login.
#[derive(Default)]
struct Authority(Option<(PasswordClient, String, Zeroizing<String>)>);

impl Authority {
    /// Returns a request's head with the camera's address and the answer to its challenge.
    fn sign(&mut self, head: &str, route: &Route) -> Option<Zeroizing<String>> {
        let (line, rest) = head.split_once("\r\n")?;
        let [method, address, version] = line.split(' ').collect::<Vec<_>>()[..] else {
            return None;
        };
        let address = route.to_camera(address);
        let line = match &mut self.0 {
            None => String::new(),
            Some((client, username, password)) => {
                let uri = address.as_str();
                let params = PasswordParams { username, password, uri, method, body: Some(&[]) };
                let answer = client.respond(&params).ok()?;
                // A line break in the user's name would begin another header.
                if answer.contains(char::is_control) {
                    return None;
                }
                format!("Authorization: {answer}\r\n")
            }
        };
        Some(Zeroizing::new(format!("{method} {address} {version}\r\n{line}{rest}")))
    }
}

/// Relays one connection, until either side closes it.
async fn relay(
    listener: TcpListener,
    route: Route,
    authority: Authority,
    mut from_camera: BufReader<OwnedReadHalf>,
    to_camera: OwnedWriteHalf,
) {
    // A program that does not know the word is refused, and retina is next.
    let (first, from_client, mut to_client) = loop {
        let Ok((client, _)) = listener.accept().await else { return };
        let (from_client, to_client) = client.into_split();
        let mut from_client = BufReader::new(from_client);
        match head(&mut from_client).await {
            Ok(first) if first.contains(&route.door) => break (first, from_client, to_client),
            _ => {}
        }
    };
    drop(listener);
    let ended = tokio::select! {
        ended = requests(first, from_client, to_camera, authority, &route) => ended,
        copied = tokio::io::copy_buf(&mut from_camera, &mut to_client) => copied.map(drop),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "the relay to a camera ended");
    }
}

/// Sends retina's messages to the camera: requests, and data with a `$` at its beginning (RFC 2326,
/// 10.12).
async fn requests(
    first: String,
    mut from: BufReader<OwnedReadHalf>,
    mut to: OwnedWriteHalf,
    mut authority: Authority,
    route: &Route,
) -> std::io::Result<()> {
    let mut next = first;
    loop {
        let signed = authority.sign(&next, route);
        let signed = signed.ok_or_else(|| std::io::Error::other(UNANSWERABLE))?;
        to.write_all(signed.as_bytes()).await?;
        tokio::io::copy(&mut (&mut from).take(content_length(&next)), &mut to).await?;
        while from.fill_buf().await?.first() == Some(&b'$') {
            let mut data = [0; 4];
            from.read_exact(&mut data).await?;
            to.write_all(&data).await?;
            let length = u16::from_be_bytes([data[2], data[3]]);
            tokio::io::copy(&mut (&mut from).take(length.into()), &mut to).await?;
        }
        if from.fill_buf().await?.is_empty() {
            return Ok(());
        }
        next = head(&mut from).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_gets_the_cameras_address_and_one_line_more() {
        let route = Route {
            door: "rtsp://127.0.0.1:4000/abc".to_owned(),
            origin: "rtsp://127.0.0.1:4000".to_owned(),
            camera: "rtsp://10.0.0.9:8554".to_owned(),
        };
        let login = |challenge: &str, user: &str| {
            let client = PasswordClient::try_from(challenge).unwrap();
            Authority(Some((client, user.to_owned(), "word".to_owned().into())))
        };
        let signed = |authority: &mut Authority, address: &str| {
            let request = format!("SETUP {address} RTSP/1.0\r\nCSeq: 2\r\n\r\n");
            authority.sign(&request, &route).map(|signed| signed.to_string())
        };
        let mut gate = login("Basic realm=\"cam\"", "gate");
        let expected = "SETUP rtsp://10.0.0.9:8554/cam?x=1 RTSP/1.0\r\n\
                        Authorization: Basic Z2F0ZTp3b3Jk\r\nCSeq: 2\r\n\r\n";
        for address in [
            "rtsp://127.0.0.1:4000/abc/cam?x=1",
            "rtsp://127.0.0.1:4000/cam?x=1",
            "rtsp://10.0.0.9:8554/cam?x=1",
        ] {
            assert_eq!(signed(&mut gate, address).unwrap(), expected);
        }
        assert!(!signed(&mut Authority::default(), "rtsp://a/").unwrap().contains("Authorization"));
        let mut digest = login("Digest realm=\"r\", nonce=\"n\", qop=\"auth\"", "a\r\nX: y");
        let signed = signed(&mut digest, "rtsp://a/").unwrap();
        assert!(signed.contains("Digest ") && !signed.contains("\r\nX: "), "{signed}");
    }
}
