//! The errors of a connection, in the two versions of MQTT.

use std::{error::Error, io, sync::Arc};

use rumqttc::{self as v4, v5};

use crate::supervision::cause;

/// Why a connection ended or was not made, as far as the next attempt depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// The broker refused this version of MQTT, in words of MQTT 5.
    Version,
    /// The broker refused the user or the password.
    Login,
    /// The broker refused the connection as not authorised: the login, or the topic of the will.
    NotAuthorised,
    /// The broker takes no retained messages.
    Retain,
    /// The broker takes no messages of QoS 1.
    Qos,
    /// The broker ended the connection over a message, and said so.
    Message,
    /// The connection ended without a word. Before CONNACK, the answer may also be illegible.
    HungUp,
    #[default]
    Other,
}

impl Cause {
    /// Returns whether the broker refused the login, or may have.
    pub fn is_login(self) -> bool {
        matches!(self, Cause::Login | Cause::NotAuthorised)
    }

    /// Returns whether the broker may have ended the connection over the last message.
    pub fn may_be_a_message(self) -> bool {
        matches!(self, Cause::Message | Cause::HungUp)
    }
}

/// An error of rumqttc and its cause.
#[derive(Clone, Debug)]
pub struct ClientError {
    pub error: Arc<dyn Error + Send + Sync>,
    pub cause: Cause,
}

impl ClientError {
    pub(super) fn of(error: impl Error + Send + Sync + 'static) -> ClientError {
        ClientError { error: Arc::new(error), cause: Cause::Other }
    }
}

fn hung_up(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let kind = cause::<io::Error>(error).map(io::Error::kind);
    matches!(kind, Some(BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof))
}

pub(super) fn error_of_v4(error: v4::ConnectionError, connected: bool) -> ClientError {
    use v4::{ConnectReturnCode as Code, ConnectionError as E, StateError};
    let cause = match &error {
        E::ConnectionRefused(Code::BadUserNamePassword) => Cause::Login,
        E::ConnectionRefused(Code::NotAuthorized) => Cause::NotAuthorised,
        E::MqttState(StateError::ConnectionAborted) => Cause::HungUp,
        E::NetworkTimeout if !connected => Cause::HungUp,
        error if hung_up(error) => Cause::HungUp,
        _ => Cause::Other,
    };
    ClientError { cause, ..ClientError::of(error) }
}

pub(super) fn error_of_v5(error: v5::ConnectionError, connected: bool) -> ClientError {
    use v5::{
        ConnectionError as E, StateError,
        mqttbytes::v5::{ConnectReturnCode as Code, DisconnectReasonCode as Reason},
    };
    // An alert of TLS 1.3 may come with the first bytes that are read. Its chain of sources is broken
    // there.
    let error = match error {
        E::MqttState(StateError::Deserialization(v5::mqttbytes::Error::Io(io))) => E::Io(io),
        error => error,
    };
    let cause = match &error {
        E::ConnectionRefused(code) => match code {
            Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion => Cause::Version,
            Code::BadUserNamePassword | Code::Banned => Cause::Login,
            Code::NotAuthorized => Cause::NotAuthorised,
            Code::RetainNotSupported => Cause::Retain,
            Code::QoSNotSupported => Cause::Qos,
            _ => Cause::Other,
        },
        E::MqttState(StateError::ServerDisconnect { reason_code, .. }) => match reason_code {
            Reason::RetainNotSupported => Cause::Retain,
            Reason::QoSNotSupported => Cause::Qos,
            Reason::NotAuthorized
            | Reason::TopicNameInvalid
            | Reason::TopicFilterInvalid
            | Reason::PayloadFormatInvalid
            | Reason::PacketTooLarge
            | Reason::ImplementationSpecificError
            | Reason::ProtocolError
            | Reason::UnspecifiedError => Cause::Message,
            _ => Cause::Other,
        },
        E::MqttState(StateError::ConnectionAborted) => Cause::HungUp,
        E::MqttState(_) | E::Timeout(_) | E::NotConnAck(_) if !connected => Cause::HungUp,
        error if hung_up(error) => Cause::HungUp,
        _ => Cause::Other,
    };
    ClientError { cause, ..ClientError::of(error) }
}
