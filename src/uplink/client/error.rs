//! The errors of a connection, in the two versions of MQTT.

use std::sync::Arc;

use rumqttc::{self as v4, v5};

/// Why a connection ended, or was not made.
#[derive(Clone, Debug)]
pub struct ClientError {
    pub error: Arc<dyn std::error::Error + Send + Sync>,
    /// The broker may not know this version of MQTT.
    pub version_in_doubt: bool,
    /// The broker refused the user or the password.
    pub login_refused: bool,
}

impl ClientError {
    pub(super) fn of(error: impl std::error::Error + Send + Sync + 'static) -> ClientError {
        ClientError { error: Arc::new(error), version_in_doubt: false, login_refused: false }
    }
}

pub(super) fn error_of_v4(error: v4::ConnectionError) -> ClientError {
    use v4::{ConnectReturnCode as Code, ConnectionError::ConnectionRefused};
    let login_refused =
        matches!(error, ConnectionRefused(Code::BadUserNamePassword | Code::NotAuthorized));
    ClientError { login_refused, ..ClientError::of(error) }
}

pub(super) fn error_of_v5(error: v5::ConnectionError, connected: bool) -> ClientError {
    use std::io::ErrorKind as Io;
    use v5::{ConnectionError, mqttbytes::v5::ConnectReturnCode as Code};
    let version_in_doubt = !connected
        && match &error {
            ConnectionError::ConnectionRefused(code) => {
                matches!(code, Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion)
            }
            // A broker of 3.1.1 refuses in the form of 3.1.1, and rumqttc waits for the rest of it.
            ConnectionError::Timeout(_)
            | ConnectionError::MqttState(_)
            | ConnectionError::NotConnAck(_) => true,
            ConnectionError::Io(e) => matches!(
                e.kind(),
                Io::UnexpectedEof | Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe
            ),
            _ => false,
        };
    let login_refused = matches!(
        error,
        ConnectionError::ConnectionRefused(
            Code::BadUserNamePassword | Code::NotAuthorized | Code::Banned
        )
    );
    ClientError { error: Arc::new(error), version_in_doubt, login_refused }
}
