//! Checks of the upstreams: each broker accepts this gateway, and the certificates are valid for long
//! enough.

use std::path::Path;

use jiff::{Timestamp, tz::TimeZone};

use super::Lines;
use crate::{
    clock::{Clock, Stamp},
    config::{Config, Upstream},
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
