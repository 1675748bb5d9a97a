//! Checks of the upstreams: each broker accepts this gateway, and the certificates are valid for long
//! enough.

use std::path::Path;

use jiff::{Timestamp, tz::TimeZone};

use super::Lines;
use crate::{
    clock::{Clock, Stamp},
    config::{Ack, CommandLevel, Config, SignerKey, Upstream},
    uplink::{self, Certificate, CertificateOf},
};

/// Number of days before the end of a certificate from which on it gives a warning.
const RENEW_WITHIN_DAYS: i64 = 30;

/// Connects to each broker of an upstream, one after the other.
pub(super) async fn check(
    lines: &mut Lines,
    config: &Config,
    upstream: &Upstream,
    clock: &dyn Clock,
) {
    let name = format!("upstream {}", upstream.name);
    // Without a configured id the daemon's id is in its database, which only the daemon opens.
    let gateway = config.site.gateway_id.as_ref().unwrap_or(&config.site.project_code);
    let mut certificates: Vec<Certificate> = Vec::new();
    for broker in &upstream.brokers {
        let found = match uplink::probe(upstream, broker, gateway, clock).await {
            Ok(found) => {
                let own = found.certificates.iter().find(|c| c.whose == CertificateOf::Broker);
                let until =
                    own.map(|c| format!(", its certificate is valid until {}", day(c.until)));
                for certificate in found.certificates {
                    if !certificates.contains(&certificate) {
                        certificates.push(certificate);
                    }
                }
                let version = found.version.word();
                Ok(format!("{broker} accepts us, MQTT {version}{}", until.unwrap_or_default()))
            }
            Err(problem) => Err(format!("{broker}: {problem}; records wait until it accepts us")),
        };
        lines.add(name.clone(), found);
    }
    for certificate in &certificates {
        if let Some(warning) = ends_soon(certificate, &clock.stamp()) {
            lines.warn(format!("certificates of {}", upstream.name), warning);
        }
    }
    authority(lines, upstream);
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
        let problem =
            "a client that may publish at the broker can enroll itself and read all names";
        lines.warn(
            name,
            format!("commands = \"{level}\" without a command_key: {problem}; set command_key"),
        );
    }
    if upstream.ack == Ack::Platform {
        let warning = "not signed: they count only up to what the broker has acknowledged, and prove \
                       nothing about the platform; set command_key";
        lines.warn(format!("acknowledgements of {}", upstream.name), warning.to_owned());
    }
}

fn ends_soon(certificate: &Certificate, now: &Stamp) -> Option<String> {
    let left_days =
        (certificate.until.as_second() - now.timestamp().as_second()).div_euclid(86_400);
    if left_days >= RENEW_WITHIN_DAYS {
        return None;
    }
    let path = certificate.path.as_deref().map(Path::display);
    let (what, remedy) = match (certificate.whose, path) {
        (CertificateOf::Broker, _) | (_, None) => {
            ("the broker's certificate".to_owned(), "its operator must renew it")
        }
        (CertificateOf::Authority, Some(path)) => (
            format!("a CA certificate in {path}"),
            "ask the broker's operator for the new CA certificate",
        ),
        (CertificateOf::Gateway, Some(path)) => (
            format!("our certificate {path}"),
            "put a renewed certificate there; no restart is needed",
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
