//! Calls over HTTPS (HTTP/1.1, POST).
//!
//! In: rows, as a profile's [`Calls`] make requests of them. Out: verdicts. One connection is kept
//! for several calls. No redirect is followed and no proxy is used. An answer is read up to
//! [`ANSWER_MAX`]. Touches: the network.

mod connection;
mod trial;

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use hyper::StatusCode;

use self::connection::{Answer, Connection};
pub use self::trial::{Reached, reach};
use super::{
    client::Cause,
    profiles::{Calls, Moment, Parcel, Request, Unusable, Verdict},
    tls::Safety,
    wire::{Kept, Wire, WireError},
};
use crate::{
    clock::{Clock, Monotonic},
    config::PlatformUrl,
};

/// Maximum size of an answer. A larger one is not read.
pub const ANSWER_MAX: usize = 1 << 20;
/// Maximum idle time of a connection. For a later call a new one is made, because a modem's network
/// forgets idle connections.
const IDLE: Duration = Duration::from_secs(30);
/// Interval between looks at whether an idle platform can be reached. A look is a new connection.
const LOOK_EVERY: Duration = Duration::from_secs(300);

pub(super) struct Https {
    url: PlatformUrl,
    calls: Arc<dyn Calls>,
    safety: Arc<Safety>,
    clock: Arc<dyn Clock>,
    connection: Option<Connection>,
    /// Time of the last connection or answer.
    reached: Monotonic,
}

impl Https {
    pub fn new(
        url: PlatformUrl,
        calls: Arc<dyn Calls>,
        safety: Arc<Safety>,
        clock: Arc<dyn Clock>,
    ) -> Https {
        let reached = clock.monotonic();
        Https { url, calls, safety, clock, connection: None, reached }
    }

    fn idle(&self) -> Duration {
        self.clock.monotonic().since(self.reached)
    }

    async fn connect(&mut self) -> Result<(), WireError> {
        self.connection = None;
        let made = Connection::open(&self.url, &self.safety, &self.clock.stamp()).await;
        self.connection = Some(made.map_err(WireError::new)?);
        self.reached = self.clock.monotonic();
        Ok(())
    }

    async fn call(&mut self, request: Request) -> Result<Answer, WireError> {
        let usable = self.connection.as_mut().is_some_and(Connection::is_usable);
        if !usable || self.idle() >= IDLE {
            self.connect().await?;
        }
        let Some(connection) = &mut self.connection else {
            return Err(WireError::new("there is no connection"));
        };
        let now = self.clock.stamp();
        let answer = connection.post(&self.url, request, &self.safety, &now).await;
        if answer.is_err() {
            self.connection = None;
        }
        self.reached = self.clock.monotonic();
        answer.map_err(WireError::new)
    }

    fn moment(&self) -> Result<Moment, WireError> {
        moment(&*self.clock).map_err(WireError::new)
    }

    /// Returns why an answer says nothing of its rows.
    fn unusable(&mut self, Unusable { words, is_login }: Unusable) -> WireError {
        self.connection = None;
        let cause = if is_login { Cause::Login } else { Cause::Other };
        WireError { problem: words, cause }
    }

    async fn delivered(&mut self, rows: Vec<Parcel>) -> Result<Vec<Verdict>, WireError> {
        let request = self.calls.deliver(&rows, &self.moment()?).map_err(WireError::new)?;
        let answer = self.call(request).await?;
        match of_status(&answer) {
            Status::Answered => {
                let verdicts = self.calls.delivered(&rows, &answer.body);
                verdicts.map_err(|unusable| self.unusable(unusable))
            }
            Status::Failed(unusable) => Err(self.unusable(unusable)),
            // A record may be the cause, so rows of one call go alone next.
            Status::OfThese(words) if rows.len() > 1 => {
                Ok(vec![Verdict::Refused(words); rows.len()])
            }
            Status::OfThese(words) | Status::Busy(words) => {
                Ok(vec![Verdict::NotNow(words); rows.len()])
            }
        }
    }

    async fn inquired(&mut self, serial: String) -> Result<Option<Verdict>, WireError> {
        let Some(request) = self.calls.inquire(&serial, &self.moment()?) else {
            return Ok(Some(Verdict::NotNow("the platform judges at once".to_owned())));
        };
        let answer = self.call(request).await?;
        match of_status(&answer) {
            Status::Answered => {
                let verdict = self.calls.inquired(&serial, &answer.body);
                verdict.map_err(|unusable| self.unusable(unusable))
            }
            Status::Failed(unusable) => Err(self.unusable(unusable)),
            Status::OfThese(words) | Status::Busy(words) => Ok(Some(Verdict::Later(words))),
        }
    }
}

impl Wire for Https {
    fn open(&mut self) -> BoxFuture<'_, Result<(), WireError>> {
        Box::pin(self.connect())
    }

    fn at_once(&self) -> usize {
        self.calls.at_once()
    }

    fn deliver(&mut self, rows: Vec<Parcel>) -> BoxFuture<'_, Result<Vec<Verdict>, WireError>> {
        Box::pin(self.delivered(rows))
    }

    fn inquire(&mut self, serial: String) -> BoxFuture<'_, Result<Option<Verdict>, WireError>> {
        Box::pin(self.inquired(serial))
    }

    fn upkeep(&mut self) -> BoxFuture<'_, Result<Kept, WireError>> {
        Box::pin(async {
            if self.idle() >= LOOK_EVERY {
                self.connect().await?;
            }
            Ok(Kept::default())
        })
    }
}

/// Returns the time of a call, and its random bytes.
fn moment(clock: &dyn Clock) -> Result<Moment, getrandom::Error> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce)?;
    Ok(Moment { at: clock.stamp().timestamp(), nonce })
}

/// What the status of an answer means.
#[derive(Debug, PartialEq)]
enum Status {
    /// The body is the answer.
    Answered,
    /// The platform cannot be used.
    Failed(Unusable),
    /// The platform cannot process this call.
    OfThese(String),
    /// The platform takes no call for now.
    Busy(String),
}

fn of_status(answer: &Answer) -> Status {
    let words = format!("the platform answers with HTTP status {}", answer.status);
    let failed = |remedy: &str| Status::Failed(format!("{words}{remedy}").into());
    match answer.status {
        StatusCode::OK => Status::Answered,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Status::Failed(Unusable {
            words: format!(
                "{words}: ask its operator for the account, or which addresses may call"
            ),
            is_login: true,
        }),
        status if status.is_redirection() => {
            let to = answer.location.as_deref().unwrap_or("another address");
            failed(&format!(", which names {to}: it is not followed; set the right url"))
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            failed(": check the path of the url")
        }
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            failed("")
        }
        StatusCode::TOO_MANY_REQUESTS => Status::Busy(words),
        status if status.is_client_error() || status.is_server_error() => Status::OfThese(words),
        _ => failed(", where 200 is expected"),
    }
}
