//! Why a broker and we do not come together, in words for whoever stands before the box.
//!
//! rumqttc wraps what happened: its own error around an `io::Error` around rustls'. Whatever is in
//! there is found by walking down. A text must be the same at each attempt, or the log would have one
//! a second: so of the time it holds the day.

use std::{error::Error, io};

use jiff::Timestamp;
use rustls::{AlertDescription, CertificateError, pki_types::ServerName};

use super::Safety;
use crate::{clock::Stamp, config::Broker, supervision::cause};

impl Safety {
    /// Says what went wrong with a connection to `broker`. `error`: rumqttc's, of MQTT 3.1.1 or 5.
    /// `now`: what this box's clock says, and whether to trust it.
    pub fn explain(&self, broker: &Broker, error: &(dyn Error + 'static), now: &Stamp) -> String {
        if let Some(words) = refused(error) {
            return words;
        }
        match cause::<rustls::Error>(error) {
            Some(rustls::Error::InvalidCertificate(problem)) => {
                self.untrusted(broker, problem, now)
            }
            Some(rustls::Error::AlertReceived(alert)) => self.turned_away(*alert),
            Some(rustls::Error::PeerIncompatible(_)) => {
                "the broker speaks no TLS that we do: it needs 1.2 or 1.3".to_owned()
            }
            Some(rustls::Error::InvalidMessage(_)) => format!(
                "what answers at port {} speaks no TLS: give the port for mqtts, often 8883",
                broker.port
            ),
            Some(other) => format!("TLS: {other}"),
            None => match cause::<io::Error>(error) {
                Some(cause) if broker.tls && hung_up(cause) => self.hung_up(),
                Some(cause) => cause.to_string(),
                None => error.to_string(),
            },
        }
    }

    /// The broker's certificate is not to be trusted.
    fn untrusted(&self, broker: &Broker, problem: &CertificateError, now: &Stamp) -> String {
        let shown = self.shown();
        let authorities = match &self.tls.ca {
            Some(ca) => ca.display().to_string(),
            None => "the operating system's store".to_owned(),
        };
        let clock = format!(
            "this box's clock says {}{}",
            day(now.timestamp()),
            if now.synced { "" } else { " and is not synchronised: see that first" }
        );
        match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                let until = shown.map(|s| format!(" on {}", day(s.until))).unwrap_or_default();
                format!(
                    "the broker's certificate, or one it rests on, expired (its own ends{until}); {clock}. \
                     Its operator must renew it"
                )
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                let from = shown.map(|s| format!(" on {}", day(s.from))).unwrap_or_default();
                format!(
                    "the broker's certificate is not valid yet (its own begins{from}); {clock}. Set the \
                     clock (chrony, systemd-timesyncd), or let the operator renew the certificate"
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
                    "the broker's certificate is signed by nobody in {authorities}, but by {:?}: name that \
                     authority's certificate with ca, if it is the right broker",
                    shown.map(|s| s.issuer).unwrap_or_default()
                ),
            },
            CertificateError::Revoked => "the broker's certificate was revoked".to_owned(),
            // webpki refuses so what `openssl req -x509` makes: an authority that serves.
            CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                "the broker's certificate is an authority's own (CA:TRUE), as self-signed ones are: its operator \
                 must have that authority sign one for the broker"
                    .to_owned()
            }
            other => format!("the broker's certificate is refused: {other}"),
        }
    }

    fn wrong_name(&self, broker: &Broker, presented: &[String]) -> String {
        let listed: Vec<String> =
            presented.iter().take(5).map(|n| n.chars().take(80).collect()).collect();
        let names = if listed.is_empty() { "no name".to_owned() } else { listed.join(", ") };
        let kind = match ServerName::try_from(broker.host.as_str()) {
            Ok(ServerName::IpAddress(_)) => "the address",
            _ => "the name",
        };
        format!(
            "the broker's certificate is not for {kind} {:?} but for {names}: write the broker as its \
             certificate has it, or let the operator add the name",
            broker.host
        )
        .replace(|c: char| c.is_control(), "")
    }

    /// The broker broke off with an alert: mostly about our certificate.
    fn turned_away(&self, alert: AlertDescription) -> String {
        use AlertDescription as A;
        let ours = match &self.tls.own {
            Some((cert, _)) => format!("the broker refuses our certificate {}", cert.display()),
            None => "the broker wants a certificate of ours: set cert and key".to_owned(),
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
            A::ProtocolVersion => {
                "the broker speaks no TLS that we do: it needs 1.2 or 1.3".to_owned()
            }
            A::UnrecognisedName => "the broker does not go by this name".to_owned(),
            other => format!("the broker broke off the handshake ({other:?}): perhaps {ours}"),
        }
    }

    /// An alert is often overtaken by the end of the connection.
    fn hung_up(&self) -> String {
        let ours = match &self.tls.own {
            Some((cert, _)) => {
                format!("perhaps it does not take our certificate {}", cert.display())
            }
            None => "perhaps it wants a certificate of ours: set cert and key".to_owned(),
        };
        format!("the broker hung up; {ours}, or its port takes no TLS")
    }
}

fn hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// What the broker's CONNACK says.
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
                "the broker refuses username, password or client_id ({code:?}): see with its operator"
            )
        }
        V5::BadClientId | V5::ClientIdentifierNotValid => {
            format!("the broker refuses client_id ({code:?}): set the one its operator gave")
        }
        V5::UnsupportedProtocolVersion | V5::RefusedProtocolVersion => {
            "the broker refuses this version of MQTT: leave out version".to_owned()
        }
        other => format!("the broker refuses the connection ({other:?}): see with its operator"),
    })
}

fn day(time: Timestamp) -> jiff::civil::Date {
    time.to_zoned(jiff::tz::TimeZone::UTC).date()
}
