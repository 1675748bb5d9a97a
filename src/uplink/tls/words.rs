//! Explains to a site admin why a connection to a broker or a platform fails.
//!
//! rumqttc wraps the cause: its own error around an `io::Error` around rustls' error. The cause is
//! found by walking down the chain. A text must be the same at each attempt, because the log gets a
//! line for each new text. So a text contains the day, and no time of day.

use std::{error::Error, io};

use jiff::Timestamp;
use rustls::{AlertDescription, CertificateError, pki_types::ServerName};

use super::{Peer, Safety};
use crate::{clock::Stamp, supervision::cause};

const NO_COMMON_VERSION: &str =
    "the broker has no version of TLS in common with us: it must offer 1.2 or 1.3";

impl Safety {
    /// Explains why a connection to `peer` failed. `error` is rumqttc's, of MQTT 3.1.1 or 5, or
    /// hyper's. `now` is the time of this box, and whether its clock is synchronised.
    pub fn explain(
        &self,
        peer: impl Into<Peer>,
        error: &(dyn Error + 'static),
        now: &Stamp,
    ) -> String {
        let peer = peer.into();
        let words = self.explained(&peer, error, now);
        match peer.is_platform {
            true => words.replace("the broker", "the platform"),
            false => words,
        }
    }

    fn explained(&self, broker: &Peer, error: &(dyn Error + 'static), now: &Stamp) -> String {
        if let Some(words) = refused(error) {
            return words;
        }
        match cause::<rustls::Error>(error) {
            Some(rustls::Error::InvalidCertificate(problem)) => {
                self.untrusted(broker, problem, now)
            }
            Some(rustls::Error::AlertReceived(alert)) => self.turned_away(*alert),
            Some(rustls::Error::PeerIncompatible(_)) => NO_COMMON_VERSION.to_owned(),
            Some(rustls::Error::InvalidMessage(_)) => format!(
                "the broker speaks no TLS at port {}: set the port for {}",
                broker.port,
                if broker.is_platform { "https, often 443" } else { "mqtts, often 8883" }
            ),
            Some(other) => format!("TLS: {other}"),
            None if closed(error) && broker.tls => self.hung_up(),
            None if closed(error) => "the broker closed the connection".to_owned(),
            None => match cause::<io::Error>(error) {
                Some(cause) if broker.tls && hung_up(cause) => self.hung_up(),
                Some(cause) => cause.to_string(),
                None => error.to_string(),
            },
        }
    }

    /// Explains why the broker's certificate is not trusted.
    fn untrusted(&self, broker: &Peer, problem: &CertificateError, now: &Stamp) -> String {
        let shown = self.shown();
        let authorities = match &self.tls.ca {
            Some(ca) => ca.display().to_string(),
            None => "the operating system's store".to_owned(),
        };
        let clock = format!(
            "this box's clock says {}{}",
            day(now.timestamp()),
            if now.synced { "" } else { " and is not synchronised: correct it first" }
        );
        match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                let until = shown.map(|s| format!(" on {}", day(s.until))).unwrap_or_default();
                format!(
                    "the broker's certificate, or one in its chain, expired (its own ends{until}); {clock}. \
                     Its operator must renew it"
                )
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                let from = shown.map(|s| format!(" on {}", day(s.from))).unwrap_or_default();
                format!(
                    "the broker's certificate is not valid yet (its own begins{from}); {clock}. Set the \
                     clock (chrony, systemd-timesyncd), or ask its operator for a valid certificate"
                )
            }
            CertificateError::NotValidForName => self.wrong_name(broker, &[]),
            CertificateError::NotValidForNameContext { presented, .. } => {
                self.wrong_name(broker, presented)
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => match shown {
                Some(shown) if shown.own_issuer => format!(
                    "the broker's certificate is self-signed, and not one of {authorities}: if it is the \
                     right broker, name its authority's certificate with ca"
                ),
                shown => format!(
                    "the broker's certificate is signed by {:?}, which is not in {authorities}: if it is \
                     the right broker, name that authority's certificate with ca",
                    shown.map(|s| s.issuer).unwrap_or_default()
                ),
            },
            CertificateError::Revoked => "the broker's certificate was revoked".to_owned(),
            // webpki refuses an authority's own certificate at a server, as `openssl req -x509`
            // makes it.
            CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                "the broker's certificate is an authority's own (CA:TRUE), as self-signed ones are: its operator \
                 must have that authority sign one for the broker"
                    .to_owned()
            }
            other => format!("the broker's certificate is refused: {other}"),
        }
    }

    fn wrong_name(&self, broker: &Peer, presented: &[String]) -> String {
        let listed: Vec<String> =
            presented.iter().take(5).map(|n| n.chars().take(80).collect()).collect();
        let names = if listed.is_empty() { "no name".to_owned() } else { listed.join(", ") };
        let kind = match ServerName::try_from(broker.host.as_str()) {
            Ok(ServerName::IpAddress(_)) => "the address",
            _ => "the name",
        };
        format!(
            "the broker's certificate is not for {kind} {:?} but for {names}: write the broker as its \
             certificate has it, or ask its operator to add the name",
            broker.host
        )
        .replace(|c: char| c.is_control(), "")
    }

    /// Explains an alert with which the broker ended the handshake. Most concern our certificate.
    fn turned_away(&self, alert: AlertDescription) -> String {
        use AlertDescription as A;
        let ours = match &self.tls.own {
            Some((cert, _)) => format!("the broker refuses our certificate {}", cert.display()),
            None => "the broker requires a certificate of ours: set cert and key".to_owned(),
        };
        match alert {
            A::CertificateRequired => ours,
            A::CertificateExpired => format!("{ours}: it has expired; renew it"),
            A::UnknownCA => format!("{ours}: it does not know the authority that signed it"),
            A::CertificateRevoked => format!("{ours}: it was revoked"),
            A::BadCertificate
            | A::CertificateUnknown
            | A::UnsupportedCertificate
            | A::AccessDenied => {
                format!("{ours} ({alert:?})")
            }
            A::ProtocolVersion => NO_COMMON_VERSION.to_owned(),
            A::UnrecognisedName => {
                "the broker does not know this name: write the broker as its certificate has it"
                    .to_owned()
            }
            other => format!("the broker ended the handshake ({other:?}): perhaps {ours}"),
        }
    }

    /// Explains a closed connection. Its end often arrives before the alert that explains it.
    fn hung_up(&self) -> String {
        let ours = match &self.tls.own {
            Some((cert, _)) => {
                format!("perhaps it does not accept our certificate {}", cert.display())
            }
            None => "perhaps it requires a certificate of ours: set cert and key".to_owned(),
        };
        format!("the broker closed the connection; {ours}, or its port takes no TLS")
    }
}

/// Returns whether the broker closed the connection, which rumqttc reports without an io::Error.
fn closed(error: &(dyn Error + 'static)) -> bool {
    use rumqttc::{ConnectionError as V4, StateError, v5};
    let v4 = error.downcast_ref::<V4>();
    let v5 = error.downcast_ref::<v5::ConnectionError>();
    matches!(v4, Some(V4::MqttState(StateError::ConnectionAborted)))
        || matches!(v5, Some(v5::ConnectionError::MqttState(v5::StateError::ConnectionAborted)))
}

fn hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// Explains a refusal in the broker's CONNACK. Returns `None` for another error.
fn refused(error: &(dyn Error + 'static)) -> Option<String> {
    use rumqttc::{
        ConnectReturnCode as V4, ConnectionError, v5, v5::mqttbytes::v5::ConnectReturnCode as V5,
    };
    let code = if let Some(ConnectionError::ConnectionRefused(code)) = error.downcast_ref() {
        match code {
            V4::BadUserNamePassword => V5::BadUserNamePassword,
            V4::NotAuthorized => V5::NotAuthorized,
            V4::BadClientId => V5::ClientIdentifierNotValid,
            V4::RefusedProtocolVersion => V5::UnsupportedProtocolVersion,
            V4::ServiceUnavailable => V5::ServerUnavailable,
            V4::Success => V5::UnspecifiedError,
        }
    } else if let Some(v5::ConnectionError::ConnectionRefused(code)) = error.downcast_ref() {
        *code
    } else {
        return None;
    };
    Some(match code {
        V5::BadUserNamePassword | V5::NotAuthorized => {
            format!(
                "the broker refuses username, password or client_id ({code:?}): ask its operator for them"
            )
        }
        V5::BadClientId | V5::ClientIdentifierNotValid => {
            format!("the broker refuses client_id ({code:?}): set the one its operator gave")
        }
        V5::UnsupportedProtocolVersion | V5::RefusedProtocolVersion => {
            "the broker refuses this version of MQTT: leave out version, so that both are tried"
                .to_owned()
        }
        other => format!("the broker refuses the connection ({other:?}): ask its operator why"),
    })
}

fn day(time: Timestamp) -> jiff::civil::Date {
    time.to_zoned(jiff::tz::TimeZone::UTC).date()
}
