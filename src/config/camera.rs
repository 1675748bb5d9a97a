//! Cameras, and the addresses of network cameras.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de::Error};
use zeroize::Zeroizing;

use super::{
    Mode, Secret, address,
    value::{self, Checked, hint, within, wrong},
    written::Written,
    zone::Zone,
};
use crate::{turnstile::Direction, words::words};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    pub direction: Direction,
    pub source: CameraSource,
    /// Frames a second.
    #[serde(default)]
    pub fps: f32,
    /// The size wanted from a `v4l2` camera, in pixels. The camera uses its nearest size.
    #[serde(default = "hd", deserialize_with = "size")]
    pub size: (u32, u32),
    /// Number of times that a replay shows each image of a folder or file.
    #[serde(default = "once", deserialize_with = "value::whole::<_, _, 1, 10_000>")]
    pub repeat: u32,
    /// Whether a replay starts again at its end.
    #[serde(default, rename = "loop")]
    pub looped: bool,
    /// The user at a network camera, unless the address names one. This and the next two become
    /// part of the source.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// The kind of login that the camera may ask for.
    #[serde(default)]
    pub auth: LoginScheme,
    /// Where the next person stands. Faces elsewhere in the picture are not followed.
    #[serde(default)]
    pub zone: Zone,
}

words! {
    /// The kind of login that a network camera may ask for.
    #[derive(Default)]
    pub enum LoginScheme {
        /// Digest, or basic where the camera never asked for digest.
        #[default]
        Any = "any",
        /// Only digest, which does not show the password.
        Digest = "digest",
        /// Only basic, which shows the password to all who can read the network's traffic.
        Basic = "basic",
    }
}

fn hd() -> (u32, u32) {
    (1280, 720)
}

fn once() -> u32 {
    1
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<(u32, u32), D::Error> {
    let (width, height) = <(i64, i64)>::deserialize(from)?;
    match (u32::try_from(width), u32::try_from(height)) {
        (Ok(w @ 160..=4096), Ok(h @ 120..=4096)) => Ok((w, h)),
        _ => Err(D::Error::custom(format!(
            "[{width}, {height}] must be from [160, 120] to [4096, 4096] pixels"
        ))),
    }
}

impl Camera {
    /// Fills in and checks values that depend on several keys. `at` is the camera's table.
    pub(super) fn complete(&mut self, written: &Written<'_>, at: &str, mode: Mode) -> Checked<()> {
        let replay = matches!(self.source, CameraSource::Replay(_));
        let v4l2 = matches!(self.source, CameraSource::V4l2(_));
        let network = !replay && !v4l2;
        for (key, takes, whose) in [
            ("loop", replay, "replay: sources"),
            ("repeat", replay, "replay: sources"),
            ("size", v4l2, "v4l2: sources"),
            (
                "fps",
                replay || v4l2,
                "replay: and v4l2: sources; set the rate in the camera's own settings",
            ),
            ("username", network, NETWORK),
            ("password", network, NETWORK),
            ("auth", network, NETWORK),
        ] {
            let key = format!("{at}.{key}");
            if !takes && written.has(&key) {
                return wrong(key, format!("belongs to {whose}"));
            }
        }
        let key = format!("{at}.fps");
        if !written.has(&key) {
            self.fps = if replay { 10.0 } else { 15.0 };
        }
        within(self.fps, 0.1..=60.0).or_else(|message| wrong(key, message + " frames a second"))?;
        match &mut self.source {
            CameraSource::Replay(path) | CameraSource::V4l2(path) => written.absolute(path),
            CameraSource::Http(url) | CameraSource::Rtsp(url) => {
                let given = (self.username.take(), self.password.take(), self.auth);
                complete_login(url, given, written, at)?;
            }
        }
        if replay && mode != Mode::Bench {
            let message = "\"replay:\" needs mode = \"bench\" at the top of the file: at a real gate, \
                           recorded pictures would let people in who are not there; use a v4l2:, \
                           http: or rtsp: camera";
            return wrong(format!("{at}.source"), message);
        }
        Ok(())
    }
}

const NETWORK: &str = "http: and rtsp: sources";

/// Puts the login of the keys into the address, which may name the user too, but only one of both.
fn complete_login(
    url: &mut CameraUrl,
    (username, password, auth): (Option<String>, Option<Secret>, LoginScheme),
    written: &Written<'_>,
    at: &str,
) -> Checked<()> {
    if username.is_some() && url.login.is_some() {
        let remedy = "the address has a login too: delete USER:PASSWORD@ from the address";
        return wrong(format!("{at}.username"), remedy);
    }
    if username.is_none() && password.is_some() {
        return wrong(format!("{at}.password"), "needs a username");
    }
    if let Some(user) = username {
        let mut password = password.unwrap_or_else(|| String::new().into());
        password.begin_at(written.base);
        url.login = Some(Login { user, password, auth });
    }
    match &mut url.login {
        Some(login) => login.auth = auth,
        None if written.has(&format!("{at}.auth")) => {
            return wrong(format!("{at}.auth"), "needs a username");
        }
        None => {}
    }
    Ok(())
}

/// The source of frames. It is shown without a password.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum CameraSource {
    /// A folder of images, or a file (or FIFO) of concatenated JPEG frames.
    Replay(PathBuf),
    /// A device of Video4Linux2.
    V4l2(PathBuf),
    /// Multipart MJPEG over HTTP.
    Http(CameraUrl),
    /// H.264 over RTSP.
    Rtsp(CameraUrl),
}

impl CameraSource {
    /// Returns the word before the colon.
    pub fn kind(&self) -> &'static str {
        match self {
            CameraSource::Replay(_) => "replay",
            CameraSource::V4l2(_) => "v4l2",
            CameraSource::Http(_) => "http",
            CameraSource::Rtsp(_) => "rtsp",
        }
    }

    /// Returns the login of a network camera.
    pub fn login(&self) -> Option<&Login> {
        match self {
            CameraSource::Http(url) | CameraSource::Rtsp(url) => url.login.as_ref(),
            CameraSource::Replay(_) | CameraSource::V4l2(_) => None,
        }
    }

    /// Returns why this build cannot read this source, if it cannot.
    pub fn left_out(&self) -> Option<&'static str> {
        match self {
            CameraSource::V4l2(_) if cfg!(not(target_pointer_width = "64")) => Some(
                "this build is for a 32-bit system and has no USB cameras: use a network camera, or \
                 a 64-bit system",
            ),
            CameraSource::Rtsp(_) if cfg!(not(feature = "h264")) => {
                Some("this build has no H.264: build it with the feature h264")
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for CameraSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CameraSource::Replay(path) => write!(f, "replay:{}", path.display()),
            CameraSource::V4l2(path) => write!(f, "v4l2:{}", path.display()),
            CameraSource::Http(url) | CameraSource::Rtsp(url) => write!(f, "{url}"),
        }
    }
}

/// A network camera's address, with the login kept separately. It is shown without possible
/// secrets: many cameras take `?user=…&pwd=…`, and some `/user=…_password=…`.
#[derive(Clone, PartialEq, Eq)]
pub struct CameraUrl {
    /// Holds neither user nor password.
    pub url: url::Url,
    pub login: Option<Login>,
}

impl std::fmt::Display for CameraUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = self.url.clone();
        if let Some((before, _)) = self.url.path().split_once('=') {
            shown.set_path(&format!("{before}=***"));
        }
        if let Some(query) = self.url.query() {
            let masked = query.split('&').map(|pair| match pair.split_once('=') {
                Some((key, _)) => format!("{key}=***"),
                None => "***".to_owned(),
            });
            shown.set_query(Some(&masked.collect::<Vec<_>>().join("&")));
        }
        shown.set_fragment(None);
        write!(f, "{shown}")
    }
}

impl std::fmt::Debug for CameraUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CameraUrl({self})")
    }
}

/// A user's name and password at a camera. Neither is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: Secret,
    pub auth: LoginScheme,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(***)")
    }
}

impl TryFrom<String> for CameraSource {
    type Error = String;

    fn try_from(text: String) -> Result<CameraSource, String> {
        let text = Zeroizing::new(text);
        let source = source(&text)?;
        source.left_out().map_or(Ok(source.clone()), |message| Err(message.to_owned()))
    }
}

fn source(text: &str) -> Result<CameraSource, String> {
    let path = |scheme| text.strip_prefix(scheme).filter(|path| !path.is_empty());
    let file = match (path("replay:"), path("v4l2:")) {
        (Some(path), _) => Some(CameraSource::Replay(path.into())),
        (_, Some(path)) => Some(CameraSource::V4l2(path.into())),
        (None, None) => None,
    };
    if let Some(file) = file {
        if text.contains("://") {
            let form = "replay: and v4l2: take a path; an address begins with http:// or rtsp://";
            return Err(form.to_owned());
        }
        return Ok(file);
    }
    let rtsp = text.starts_with("rtsp://");
    if !rtsp && !text.starts_with("http://") {
        // Any part of the text may be a secret.
        let kinds = "v4l2:/dev/video0, http://…, rtsp://…, replay:DIR, replay:FILE or replay:PIPE";
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let scheme = scheme.filter(|s| s.len() < 8 && s.bytes().all(|b| b.is_ascii_alphabetic()));
        let shown = scheme.map_or_else(|| "it".to_owned(), |scheme| format!("{scheme:?}"));
        return Err(format!("{shown} is not a kind of source; give {kinds}{}", hint(text)));
    }
    if let Some(message) = address::unclear(text) {
        return Err(message);
    }
    let mut url = match url::Url::parse(text) {
        // The parser keeps a host of `rtsp:` as it is, including a login whose : and @ are escaped.
        Ok(url) if url.host_str().is_some_and(|host| host.contains('%')) => {
            let remedy = "do not escape the : and the @ around the password; a host is a name or an IP \
                          address";
            return Err(format!("the address has a % in its host: {remedy}"));
        }
        Ok(url) if url.has_host() => url,
        Ok(_) => return Err("the address has no host".to_owned()),
        Err(e) => return Err(format!("not the address of a camera: {e}")),
    };
    let login = login(&url)?;
    // Both are refused only without a host, and this address has one.
    let _ = (url.set_username(""), url.set_password(None));
    let url = CameraUrl { url, login };
    Ok(if rtsp { CameraSource::Rtsp(url) } else { CameraSource::Http(url) })
}

fn login(url: &url::Url) -> Result<Option<Login>, String> {
    let decoded = |text: &str| {
        let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
        let remedy = "its user or password is not UTF-8 after a %: write % as %25";
        decoded.map(String::from).map_err(|_| remedy.to_owned())
    };
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let user = decoded(url.username())?;
    let password = Secret::Plain(Zeroizing::new(decoded(url.password().unwrap_or_default())?));
    Ok(Some(Login { user, password, auth: LoginScheme::Any }))
}
