//! Decides how to log in to a network camera, and answers its challenges. Pure.
//!
//! In: the challenges of a camera that asks for a login (RFC 7617, RFC 7616). Out: the header's
//! value that answers one of them, or why the password is not sent. Basic shows the password to all
//! who can read the network's traffic, and to a device that has taken the camera's address. So a
//! camera that has asked for digest once gets no answer to basic any more, until the daemon
//! restarts.
//!
//! Cameras write challenges badly: commas are missing, values have no quotes, or a quote too many.
//! [`challenges`] reads them as far as their meaning is certain. A nonce may be valid on its own
//! connection only, or once. So a challenge is answered on the connection that it came on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http_auth::{
    ChallengeParser, PasswordClient, PasswordParams,
    digest::{Algorithm, Qop},
};
use zeroize::Zeroizing;

use super::link::{NO_LOGIN, UNANSWERABLE, Unopened};
use crate::config::{Login, LoginScheme};

/// Maximum number of challenges of one request that are answered. The camera says that each nonce
/// before the last one was stale.
const ANSWERS: u32 = 3;

/// What one camera has asked for in this run.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    digest: Arc<AtomicBool>,
}

impl Asked {
    /// Returns the client that answers these headers. The first digest goes before basic.
    fn answer<'a>(
        &self,
        headers: impl IntoIterator<Item = &'a str>,
        wanted: LoginScheme,
    ) -> Result<PasswordClient, String> {
        let (mut digest, mut basic) = (None, None);
        for challenge in headers.into_iter().flat_map(challenges) {
            match client(&challenge) {
                Some(client @ PasswordClient::Digest(_)) => digest = digest.or(Some(client)),
                Some(client @ PasswordClient::Basic(_)) => basic = basic.or(Some(client)),
                _ => {}
            }
        }
        let asked = self.digest.fetch_or(digest.is_some(), Ordering::Relaxed);
        let why = match (wanted, digest, basic) {
            (LoginScheme::Any | LoginScheme::Digest, Some(digest), _) => return Ok(digest),
            (LoginScheme::Any, None, Some(basic)) if !asked => return Ok(basic),
            (LoginScheme::Basic, _, Some(basic)) => return Ok(basic),
            (LoginScheme::Any, None, Some(_)) => {
                "the camera asked for a digest login before, and asks for basic now, which would \
                 show the password. The password was not sent. Check whether another device has \
                 its address, or whether its settings were changed; then restart the daemon"
            }
            (LoginScheme::Digest, None, Some(_)) => {
                "the camera asks for a basic login, which would show the password. The password \
                 was not sent. Set the camera to digest, or set auth = \"any\" here"
            }
            (LoginScheme::Basic, Some(_), None) => {
                "the camera asks for a digest login: set auth = \"any\" here"
            }
            (_, None, None) => {
                "the camera asks for an unknown kind of login; set the camera to digest or basic"
            }
        };
        Err(why.to_owned())
    }
}

/// The login at one camera, and the challenge that was answered last.
pub(super) struct Answers {
    login: Option<Login>,
    asked: Asked,
    client: Option<PasswordClient>,
    /// Number of challenges that the present request has answered.
    answered: u32,
    /// The password, read once for a connection.
    password: Option<Zeroizing<String>>,
}

impl Answers {
    pub fn new(login: Option<&Login>, asked: &Asked) -> Self {
        let (login, asked) = (login.cloned(), asked.clone());
        Self { login, asked, client: None, answered: 0, password: None }
    }

    /// Begins a request that is not a repetition.
    pub fn begin(&mut self) {
        self.answered = 0;
    }

    /// Returns whether the present request has answered a challenge of its own.
    pub fn has_answered(&self) -> bool {
        self.answered > 0
    }

    /// Returns whether a login is sent.
    pub fn is_logged_in(&self) -> bool {
        self.client.is_some()
    }

    /// Forgets the login, because another device asks for the next one.
    pub fn leave(&mut self) {
        (self.login, self.client) = (None, None);
    }

    /// Takes the challenges of a request that was refused with 401. The request is to be sent
    /// again. `here`: the request answered a challenge that came on this connection.
    pub fn challenged<'a>(
        &mut self,
        headers: impl IntoIterator<Item = &'a str>,
        here: bool,
    ) -> Result<(), Unopened> {
        let Some(login) = &self.login else { return Err(NO_LOGIN.to_owned().into()) };
        let before = nonce(self.client.as_ref()).map(str::to_owned);
        let client = match self.asked.answer(headers, login.auth) {
            Ok(client) => client,
            Err(_) if self.answered > 0 => return Err(Unopened::LoginRefused),
            Err(why) => return Err(why.into()),
        };
        let stale = matches!(&client, PasswordClient::Digest(digest) if digest.stale());
        let again = here || nonce(Some(&client)) == before.as_deref() || self.answered > 1;
        if self.answered >= ANSWERS || (self.answered > 0 && again && !stale) {
            return Err(Unopened::LoginRefused);
        }
        self.answered += 1;
        self.client = Some(client);
        Ok(())
    }

    /// Returns the value of the header `Authorization` of a request, or `None` if the camera asks
    /// for no login.
    pub fn authorization(
        &mut self,
        method: &str,
        uri: &str,
    ) -> Result<Option<Zeroizing<String>>, String> {
        let (Some(client), Some(login)) = (&mut self.client, &self.login) else { return Ok(None) };
        if self.password.is_none() {
            self.password = Some(login.password.read().map_err(|e| e.to_string())?);
        }
        let password = self.password.as_deref().map_or("", String::as_str);
        let value = respond(client, &login.user, password, method, uri)?;
        Ok(Some(value))
    }
}

fn nonce(client: Option<&PasswordClient>) -> Option<&str> {
    match client {
        Some(PasswordClient::Digest(digest)) => Some(digest.nonce()),
        Some(_) => Some(""),
        None => None,
    }
}

/// Answers a challenge for a request without a body.
fn respond(
    client: &mut PasswordClient,
    username: &str,
    password: &str,
    method: &str,
    uri: &str,
) -> Result<Zeroizing<String>, String> {
    // With `auth-int` http-auth hashes the body itself, where RFC 7616 (3.4.3) has the body's hash.
    // So it gets the hash of an empty body, and no body where `auth` is offered too.
    let (body, plain) = match client {
        PasswordClient::Digest(digest) => {
            let body = match digest.algorithm() {
                _ if digest.qop() & Qop::Auth => None,
                Algorithm::Md5 => Some("d41d8cd98f00b204e9800998ecf8427e"),
                Algorithm::Sha256 => {
                    Some("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
                }
                _ => Some("c672b8d1ef56ed28ab87c3622c5114069bdd3ad7b8f9737498d0c01ecef0967a"),
            };
            // http-auth names the algorithm only with `qop`.
            (body, digest.rfc2069_compat().then(|| digest.algorithm()))
        }
        _ => (None, None),
    };
    let body = body.map(str::as_bytes);
    let params = PasswordParams { username, password, uri, method, body };
    let mut answer = Zeroizing::new(client.respond(&params).map_err(|_| UNANSWERABLE)?);
    match plain {
        Some(Algorithm::Sha256) => answer.push_str(", algorithm=SHA-256"),
        Some(Algorithm::Sha512Trunc256) => answer.push_str(", algorithm=SHA-512-256"),
        _ => {}
    }
    // A line break in the user's name would begin another header.
    if answer.contains(|c: char| c.is_control() || !c.is_ascii()) {
        return Err(UNANSWERABLE.to_owned());
    }
    Ok(answer)
}

fn client(challenge: &str) -> Option<PasswordClient> {
    let challenge = ChallengeParser::new(challenge).next()?.ok()?;
    PasswordClient::builder().challenge(&challenge).build().ok()
}

/// Returns the challenges of a header, each in the form of RFC 9110 (11.6.1). Parts that are no
/// challenge are left out.
pub(super) fn challenges(header: &str) -> Vec<String> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header;
    let is_between = |c: char| c.is_whitespace() || matches!(c, ',' | ';');
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    loop {
        rest = rest.trim_start_matches(is_between);
        let (word, behind) = rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
        match (word.is_empty(), behind.trim_start().strip_prefix('=')) {
            (true, _) if rest.is_empty() => break,
            // A character that has no place here, and its word.
            (true, _) => {
                rest = rest.get(rest.find(is_between).unwrap_or(rest.len())..).unwrap_or("")
            }
            (false, None) => {
                found.push((word.to_owned(), Vec::new()));
                rest = behind;
            }
            (false, Some(value)) => {
                let (value, behind) = value_of(value.trim_start());
                if let Some((_, parameters)) = found.last_mut()
                    && !parameters.iter().any(|(name, _)| name.eq_ignore_ascii_case(word))
                {
                    parameters.push((word.to_ascii_lowercase(), value));
                }
                rest = behind;
            }
        }
    }
    found.into_iter().map(|(scheme, parameters)| rewritten(&scheme, parameters)).collect()
}

/// Returns a parameter's value without quotes and escapes, and what is behind it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        // A blank is part of the value, unless the next parameter follows it.
        let is_end = |(at, c): (usize, char)| match c {
            ',' | ';' => Some(at),
            c if c.is_whitespace() => text.get(at..).filter(|rest| is_parameter(rest)).map(|_| at),
            _ => None,
        };
        let end = text.char_indices().find_map(is_end).unwrap_or(text.len());
        let (value, behind) = text.split_at(end);
        return (value.trim().trim_matches(['\'', '"']).to_owned(), behind);
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            // A quote within the value is followed by more of its text.
            '"' if !escaped && ends_value(&quoted[at + 1..]) => return (value, &quoted[at + 1..]),
            _ => value.push(c),
        }
        escaped = false;
    }
    (value, "")
}

/// Returns whether a value in quotes has ended before this text: at the header's end, at a comma,
/// at the next parameter, or at the last quote.
fn ends_value(behind: &str) -> bool {
    let next = behind.trim_start();
    next.is_empty() || next.starts_with([',', ';']) || !next.contains('"') || is_parameter(next)
}

/// Returns whether a text begins with a parameter: a name and an equals sign.
fn is_parameter(text: &str) -> bool {
    let text = text.trim_start();
    let behind = text.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '-');
    behind.len() < text.len() && behind.trim_start().starts_with('=')
}

/// The algorithms that http-auth has.
const ALGORITHMS: [&str; 6] =
    ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess"];

/// Returns a challenge in the form that http-auth reads.
fn rewritten(scheme: &str, parameters: Vec<(String, String)>) -> String {
    let is_digest = scheme.eq_ignore_ascii_case("Digest");
    let mut shown: Vec<String> = Vec::new();
    for (name, value) in parameters {
        let value = match &*name {
            "algorithm" if is_digest => {
                let known =
                    ALGORITHMS.iter().find(|known| known.eq_ignore_ascii_case(value.trim()));
                shown.push(format!("algorithm={}", known.copied().unwrap_or("unknown")));
                continue;
            }
            "qop" if is_digest => {
                let offered = value.split(|c: char| c == ',' || c.is_whitespace());
                let known = ["auth", "auth-int"];
                let known = known
                    .iter()
                    .filter(|qop| offered.clone().any(|offered| offered.eq_ignore_ascii_case(qop)));
                let known: Vec<_> = known.copied().collect();
                // Without a known `qop` the camera takes the older answer (RFC 2069).
                if known.is_empty() {
                    continue;
                }
                known.join(",")
            }
            _ => value,
        };
        let value: String = value.chars().filter(|c| !c.is_control()).collect();
        shown.push(format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")));
    }
    let has = |name: &str| shown.iter().any(|parameter| parameter.starts_with(name));
    // An answer with `-sess` needs the client's nonce, which goes with `qop`.
    let is_session =
        |parameter: &String| parameter.starts_with("algorithm=") && parameter.ends_with("-sess");
    if !has("qop=") && shown.iter().any(is_session) {
        shown.push("qop=\"auth\"".to_owned());
    }
    if !shown.iter().any(|parameter| parameter.starts_with("realm=")) {
        shown.insert(0, "realm=\"\"".to_owned());
    }
    format!("{scheme} {}", shown.join(", "))
}

#[cfg(test)]
mod tests;
