//! Writes a camera's RTSP answers as the library retina reads them.
//!
//! In: the head and body of an answer. Out: another answer with the same meaning, or what is wrong
//! with the camera and what to do. It touches nothing.
//!
//! retina reads RTSP and SDP strictly, and cameras write them badly. So nothing of a camera's answer
//! goes through as it is: each answer is written again from the few values that retina needs. Values
//! that are missing and have one meaning are filled in. Those that are advisory and often wrong
//! (`RTP-Info`, `ssrc`, a timeout of 0) are left out.

use std::fmt::Write;

use url::Url;

use super::{head::Head, link::plain_text};

/// The name of the session for retina. The camera's own name stays in the relay.
pub(super) const SESSION: &str = "gatehouse";

/// Returns an answer with these header lines and this body.
pub(super) fn answer(cseq: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    format!("RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n{lines}Content-Length: {length}\r\n\r\n{body}")
}

/// Returns the header lines and the body of the answer to DESCRIBE at `url`.
pub(super) fn described(head: &Head, body: &[u8], url: &Url) -> Result<(String, String), String> {
    let text = String::from_utf8_lossy(body);
    let kind = head.get("Content-Type").unwrap_or_default().to_ascii_lowercase();
    let is_sdp = kind.starts_with("application/sdp") || text.trim_start().starts_with("v=");
    if !is_sdp && !text.contains("\nm=video ") {
        return Err(match text.trim().is_empty() {
            true => "the camera describes no stream at this address; check the address in its \
                     manual"
                .to_owned(),
            false => format!(
                "the camera describes the stream as {}, and not as SDP; check the address in its \
                 manual",
                if kind.is_empty() { "an unknown type".to_owned() } else { plain_text(&kind) }
            ),
        });
    }
    let base = base(head, url);
    let lines = format!("Content-Type: application/sdp\r\nContent-Base: {base}\r\n");
    Ok((lines, sdp(&text, url)?))
}

/// Returns the address to which the addresses in the SDP are relative (RFC 2326, C.1.1).
fn base(head: &Head, url: &Url) -> Url {
    let given = head.get("Content-Base").or_else(|| head.get("Content-Location"));
    let Some(mut given) = given else { return url.clone() };
    // Some cameras write the scheme twice, and others leave it out.
    const SCHEME: &str = "rtsp://";
    let mut had_scheme = false;
    while given.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME)) {
        given = given.get(SCHEME.len()..).unwrap_or_default();
        had_scheme = true;
    }
    let parsed = match had_scheme || !given.starts_with('/') {
        true => Url::parse(&format!("{SCHEME}{given}")),
        false => url.join(given),
    };
    let usable = parsed.ok().filter(|base| {
        let has_login = !base.username().is_empty() || base.password().is_some();
        base.scheme() == "rtsp" && base.has_host() && !has_login
    });
    usable.unwrap_or_else(|| url.clone())
}

/// Returns the SDP with the video streams of this one, and nothing else.
fn sdp(text: &str, url: &Url) -> Result<String, String> {
    let mut control = None;
    let mut medias: Vec<(String, Vec<String>)> = Vec::new();
    let mut others = false;
    for line in text.split(['\r', '\n']) {
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(media) = line.trim_start().strip_prefix("m=") {
            let words: Vec<_> = media.split_whitespace().collect();
            others = true;
            if let [kind, _, protocol, formats @ ..] = &words[..]
                && kind.eq_ignore_ascii_case("video")
                && !formats.is_empty()
            {
                others = false;
                let line = format!("m=video 0 {protocol} {}", formats.join(" "));
                medias.push((line, Vec::new()));
            }
        } else if let Some(attribute) = line.trim_start().strip_prefix("a=") {
            let attribute = match attribute.split_once(':') {
                Some((name, value)) => format!("{}:{}", name.trim(), words(value)),
                None => attribute.trim().to_owned(),
            };
            match medias.last_mut() {
                _ if others => {}
                Some((_, attributes)) => attributes.push(attribute),
                None => {
                    let given = attribute.strip_prefix("control:").map(str::to_owned);
                    control = given.filter(|given| !given.is_empty()).or(control);
                }
            }
        }
    }
    if medias.is_empty() {
        return Err(
            "the camera has no video at this address; check the address in its manual, and \
                    that the stream is switched on"
                .to_owned(),
        );
    }
    let control = control.unwrap_or_else(|| url.to_string());
    let mut sdp =
        format!("v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=control:{control}\r\n");
    for (media, attributes) in medias {
        let _ = write!(sdp, "{media}\r\n");
        let payload = media.split(' ').nth(3).unwrap_or_default();
        for line in completed(payload, attributes) {
            let _ = write!(sdp, "a={line}\r\n");
        }
    }
    Ok(sdp)
}

/// Returns a stream's attributes with one that names its encoding. Payload types from 96 on have no
/// fixed encoding (RFC 3551, 6).
fn completed(payload: &str, attributes: Vec<String>) -> Vec<String> {
    let is_used = |line: &String| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name {
            // An empty address is that of the whole presentation.
            "control" => !value.is_empty(),
            "rtpmap" | "fmtp" => value.split(' ').next() == Some(payload),
            _ => false,
        }
    };
    let mut lines: Vec<String> = attributes.into_iter().filter(is_used).collect();
    let mut named = false;
    for line in &mut lines {
        if line.starts_with("rtpmap:") {
            named = true;
            if !line.contains('/') {
                line.push_str("/90000");
            }
        }
    }
    let is_h264 = |line: &String| {
        ["sprop-parameter-sets=", "packetization-mode="].iter().any(|of| line.contains(of))
    };
    let is_dynamic = payload.parse::<u8>().is_ok_and(|payload| payload >= 96);
    if !named && is_dynamic && lines.iter().any(is_h264) {
        lines.insert(0, format!("rtpmap:{payload} H264/90000"));
    }
    lines
}

/// Returns the camera's name of the session, and the header lines of the answer to SETUP. The
/// stream is on the channels 0 and 1 for retina.
pub(super) fn set_up(head: &Head) -> (Option<String>, String) {
    let given = head.get("Session").unwrap_or_default();
    let mut parts = given.split(';').map(str::trim);
    let id = parts.next().filter(|id| !id.is_empty()).map(str::to_owned);
    let timeout = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| value.trim().parse::<u32>().ok())?
    });
    // Without a timeout, and with one of 0, the RFC's 60 s count.
    let timeout = timeout.filter(|timeout| *timeout > 0).map(|timeout| timeout.clamp(4, 3600));
    let timeout = timeout.map(|timeout| format!(";timeout={timeout}")).unwrap_or_default();
    let lines = format!(
        "Session: {SESSION}{timeout}\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
    );
    (id, lines)
}

/// Returns a parameter of an answer's `Transport`.
pub(super) fn transport<'a>(head: &'a Head, name: &str) -> Option<&'a str> {
    head.get("Transport")?.split(';').find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// Returns the channel of the pictures in the answer to SETUP. Without one, the channel that was
/// asked for counts.
pub(super) fn channel(head: &Head) -> u8 {
    let given = transport(head, "interleaved").unwrap_or_default();
    given.split('-').next().and_then(|first| first.trim().parse().ok()).unwrap_or(0)
}

/// Returns what a refusal means, and what to do.
pub(super) fn refusal(method: &str, status: u16, phrase: &str) -> String {
    let what = match (status, method) {
        (404 | 410, _) => "the camera has no such stream; check the address in the camera's manual",
        (403, _) => {
            "the camera forbids this stream (403); allow this machine or this user in its settings"
        }
        (405 | 501 | 551, "DESCRIBE") => {
            "the camera does not describe streams (no DESCRIBE); check that RTSP is switched on and \
             the port is that of RTSP"
        }
        (406 | 415, _) => {
            "the camera has no description in SDP for this stream; check the address in its manual"
        }
        (453 | 503, _) => {
            "the camera serves no further viewer, or is busy; close other viewers of it, or take its \
             second stream"
        }
        (454, _) => "the camera has forgotten the session; it is opened again",
        (455 | 459 | 460, _) => {
            "the camera does not play this address; give the address of one stream, from its manual"
        }
        (461, _) => {
            "the camera sends neither over TCP nor over UDP to one client (461); switch \"RTP over \
             RTSP (TCP)\" or unicast on in its settings"
        }
        (505, _) => "the camera wants another version of RTSP; update its firmware",
        (500..600, _) => "",
        _ => "",
    };
    if !what.is_empty() {
        return what.to_owned();
    }
    let phrase = plain_text(phrase);
    let remedy = match status {
        500..600 => "this is a fault in the camera; restart it, and update its firmware",
        _ => "check the address and the stream's settings in its manual",
    };
    format!("the camera refuses {method}: {status} {phrase}; {remedy}")
}

#[cfg(test)]
mod tests;
