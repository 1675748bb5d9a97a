//! Checks of the upstreams: each broker accepts this gateway, and the certificates are valid for long
//! enough.

use std::{path::Path, sync::Arc};

use jiff::{Timestamp, tz::TimeZone};

use super::Lines;
use crate::{
    attendance::Origin,
    clock::{Clock, Stamp, SystemClock},
    config::{Ack, CommandLevel, Config, Direction, PlatformUrl, SignerKey, Upstream},
    status::{Remedy, Status},
    uplink::{
        self, Certificate, CertificateOf, Found, Note, Profile, Reached, Talk, Target,
        UpstreamState, Without,
        profiles::{Dialect, Unusable, face_terminal::FaceTerminal},
    },
};

/// Number of days before the end of a certificate from which on it gives a warning.
const RENEW_WITHIN_DAYS: i64 = 30;

/// Connects to each broker of an upstream, one after the other.
pub(super) async fn check(
    lines: &mut Lines,
    config: &Config,
    upstream: &Upstream,
    daemon: (bool, Option<&Status>),
    clock: &dyn Clock,
) {
    let name = format!("upstream {}", upstream.name);
    let (daemon_runs, status) = daemon;
    // Without a configured id the daemon's id is in its database, which only the daemon opens.
    let known = config.site.gateway_id.as_deref().or(status.map(|status| &*status.gateway));
    let gateway = known.unwrap_or(&config.site.project_code);
    let (project, timezone) = (config.site.project_code.clone(), config.site.timezone.clone());
    let origin = Origin { gateway: gateway.to_owned(), project, timezone };
    let Ok(profile) = uplink::profiles::of(upstream, &origin) else { return };
    let link = status.and_then(|s| s.upstreams.iter().find(|u| u.link.name == upstream.name));
    let link = link.map(|of_daemon| &of_daemon.link);
    if let Some(doubts) = profile.doubts() {
        lines.warn(format!("records of {}", upstream.name), doubts);
    }
    let mut certificates: Vec<Certificate> = Vec::new();
    match (&upstream.url, profile.talk()) {
        (Some(url), Talk::Https(calls)) => {
            let reached = uplink::reach(upstream, url, &*calls, clock).await;
            platform(lines, &name, url, &reached);
            certificates.extend(reached.into_iter().flat_map(|reached| reached.certificates));
        }
        (Some(_), Talk::Tcp(over)) => {
            let known = (&over.topics()[..], daemon_runs, link);
            sessions(lines, config, upstream, &*profile, known).await;
        }
        _ => {}
    }
    for broker in &upstream.brokers {
        let profile = profile.clone();
        let target = Target { upstream, broker, gateway, profile, daemon_runs, clock };
        // The daemon has sent everything that it sends, so there is nothing to try.
        let delivers = link.filter(|link| link.connected && link.broker == broker.to_string());
        let mut probed = None;
        let found = match uplink::probe(&target).await {
            Ok(found) => {
                let own = found.certificates.iter().find(|c| c.whose == CertificateOf::Broker);
                let until =
                    own.map(|c| format!(", its certificate is valid until {}", day(c.until)));
                for certificate in &found.certificates {
                    if !certificates.contains(certificate) {
                        certificates.push(certificate.clone());
                    }
                }
                let version = found.version.word();
                let accepts =
                    format!("{broker} accepts us, MQTT {version}{}", until.unwrap_or_default());
                probed = Some(found);
                Ok(accepts)
            }
            Err(problem) => match delivers {
                Some(link) => Ok(format!(
                    "the daemon is connected to {broker}, MQTT {}; the broker does not accept the \
                     client id of this test ({problem})",
                    link.version.map_or("5", |version| version.word())
                )),
                None => Err(format!("{broker}: {problem}; records wait until it accepts us")),
            },
        };
        lines.add(name.clone(), found);
        messages(lines, &target, probed, delivers, known.is_some()).await;
    }
    for certificate in &certificates {
        let peer = if upstream.url.is_some() { "platform" } else { "broker" };
        if let Some(warning) = ends_soon(certificate, peer, &clock.stamp()) {
            lines.warn(format!("certificates of {}", upstream.name), warning);
        }
    }
    authority(lines, upstream);
}

/// Says whether a platform over HTTPS can be reached, and whether it accepts the account.
fn platform(lines: &mut Lines, name: &str, url: &PlatformUrl, reached: &Result<Reached, String>) {
    let reached = match reached {
        Ok(reached) => reached,
        Err(problem) => {
            let problem = format!("{url}: {problem}; records wait until it can be reached");
            return lines.add(name.to_owned(), Err(problem));
        }
    };
    let own = reached.certificates.iter().find(|c| c.whose == CertificateOf::Broker);
    let until = own.map(|c| format!(", its certificate is valid until {}", day(c.until)));
    lines.add(name.to_owned(), Ok(format!("{url} can be reached{}", until.unwrap_or_default())));
    let account = format!("account at {}", name.trim_start_matches("upstream "));
    match &reached.account {
        None => {}
        Some(Ok(())) => lines.add(account, Ok("the platform accepts it".to_owned())),
        Some(Err(Unusable { words, is_login: true })) => lines.add(account, Err(words.clone())),
        Some(Err(Unusable { words, .. })) => {
            lines.warn(
                account,
                format!("not known: a question without a record got no answer ({words})"),
            );
        }
    }
}

/// Logs in over each session of an upstream over TCP. A running daemon has these sessions, and the
/// platform would end them for another login of the same device. Names the lanes without a session.
async fn sessions(
    lines: &mut Lines,
    config: &Config,
    upstream: &Upstream,
    profile: &dyn Profile,
    (topics, daemon_runs, link): (&[String], bool, Option<&UpstreamState>),
) {
    let name = |topic: &str| format!("session {topic} of {}", upstream.name);
    if daemon_runs {
        for topic in topics {
            let down = |link: &UpstreamState| {
                let of_session = link.sessions_down.iter().find(|down| down.what == *topic);
                let of_link = (!link.connected).then(|| link.last_error.clone()).flatten();
                of_session.map(|down| down.why.clone()).or(of_link)
            };
            let found = match link.map(|link| (link.connected, down(link))) {
                Some((true, None)) => Ok("the daemon is logged in".to_owned()),
                Some((_, Some(why))) => Err(format!("{why}; its records wait")),
                _ => Err("the daemon is not logged in yet; its records wait".to_owned()),
            };
            lines.add(name(topic), found);
        }
    } else {
        let clock = match SystemClock::new() {
            Ok(clock) => Arc::new(clock),
            Err(error) => return lines.add(name("*"), Err(error.to_string())),
        };
        for (topic, tried) in uplink::sessions(upstream, profile, clock).await.unwrap_or_default() {
            let found = match tried {
                Ok(()) => Ok(format!("{} accepts the device", upstream.address())),
                Err(problem) => Err(format!("{}: {problem}; its records wait", upstream.address())),
            };
            lines.add(name(&topic), found);
        }
    }
    for topic in topics {
        let lane = topic.rsplit_once('/').map_or(&**topic, |(lane, _)| lane);
        if !config.lanes.iter().any(|known| known.name == lane) {
            let lanes: Vec<_> = config.lanes.iter().map(|lane| &*lane.name).collect();
            let warning = format!("there is no lane {lane}; there are: {}", lanes.join(", "));
            lines.warn(name(topic), warning);
        }
    }
    for lane in &config.lanes {
        for direction in Direction::BOTH {
            let topic = format!("{}/{direction}", lane.name);
            let passes = lane.cameras.iter().any(|camera| camera.direction == direction)
                || lane.readers.iter().any(|reader| reader.direction == direction);
            if passes && !topics.contains(&topic) {
                let warning = format!(
                    "no [[upstream.session]] has lane = {:?} and direction = \"{direction}\": records \
                     of that direction stand aside until its device is there",
                    lane.name
                );
                lines.warn(name(&topic), warning);
            }
        }
    }
}

/// Says which messages the broker takes: what the daemon has found, or what a trial finds.
async fn messages(
    lines: &mut Lines,
    target: &Target<'_>,
    probed: Option<Found>,
    delivers: Option<&UpstreamState>,
    id_known: bool,
) {
    let name = format!("messages to {}", target.upstream.name);
    if let Some(link) = delivers {
        for Without { what, why, .. } in &link.without {
            lines.warn(name.clone(), format!("the broker forbids {what} ({why}). Records go on"));
        }
        if link.withheld > 0 {
            lines.warn(name, Remedy::Withheld { records: link.withheld }.to_string());
        }
        return;
    }
    let Some(found) = probed else { return };
    if !id_known {
        let text = "not tried: the topics have the gateway's id in them, which only the daemon knows. \
                    Run check while the daemon runs, or set site.gateway_id";
        return lines.warn(name, text.to_owned());
    }
    let (taken, notes) = uplink::trials(target, &found).await;
    if !taken.is_empty() {
        lines.add(name.clone(), Ok(format!("{} takes {}", target.broker, taken.join(", "))));
    }
    for Note { fault, text } in notes {
        match fault {
            true => lines.add(name.clone(), Err(text)),
            false => lines.warn(name.clone(), text),
        }
    }
}

/// Says whose commands and acknowledgements count.
fn authority(lines: &mut Lines, upstream: &Upstream) {
    let (name, level) = (format!("commands of {}", upstream.name), upstream.commands);
    if let Some(key) = &upstream.command_key {
        let usable = uplink::authority::check(key).map_err(|e| format!("command_key: {e}"));
        let kind = match key {
            SignerKey::Hmac(_) => uplink::authority::HMAC_SHA256,
            SignerKey::Ed25519(_) => uplink::authority::ED25519,
        };
        lines.add(name, usable.map(|()| format!("\"{level}\", only signed ones ({kind})")));
        return;
    }
    if level > CommandLevel::Status {
        let problem = match upstream.url {
            None => "a client that may publish at the broker can enroll itself and read all names",
            Some(_) => {
                "whoever answers at the platform's address can name workers, who wait for a person"
            }
        };
        // A platform that answers each call cannot sign.
        let remedy = if upstream.url.is_some() { "" } else { "; set command_key" };
        lines
            .warn(name, format!("commands = \"{level}\" without a command_key: {problem}{remedy}"));
    }
    if upstream.ack == Ack::Platform {
        // A terminal's acknowledgement has no signature.
        let remedy = if upstream.profile == FaceTerminal::WORD { "" } else { "; set command_key" };
        let warning = format!(
            "not signed: they count only up to what the broker has acknowledged, and prove nothing \
             about the platform{remedy}"
        );
        lines.warn(format!("acknowledgements of {}", upstream.name), warning);
    }
}

fn ends_soon(certificate: &Certificate, peer: &str, now: &Stamp) -> Option<String> {
    let left_days =
        (certificate.until.as_second() - now.timestamp().as_second()).div_euclid(86_400);
    if left_days >= RENEW_WITHIN_DAYS {
        return None;
    }
    let path = certificate.path.as_deref().map(Path::display);
    let (what, remedy) = match (certificate.whose, path) {
        (CertificateOf::Broker, _) | (_, None) => {
            (format!("the {peer}'s certificate"), "its operator must renew it".to_owned())
        }
        (CertificateOf::Authority, Some(path)) => (
            format!("a CA certificate in {path}"),
            format!("ask the {peer}'s operator for the new CA certificate"),
        ),
        (CertificateOf::Gateway, Some(path)) => (
            format!("our certificate {path}"),
            "put a renewed certificate there; no restart is needed".to_owned(),
        ),
    };
    let until = day(certificate.until);
    Some(match left_days {
        ..0 => format!("{what} ended on {until}: {remedy}"),
        0 => format!("{what} ends today, on {until}: {remedy}"),
        _ => {
            let days = crate::words::counted(left_days, "day");
            format!("{what} ends in {days}, on {until}: {remedy}")
        }
    })
}

fn day(time: Timestamp) -> jiff::civil::Date {
    time.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests;
