//! A test of a platform over HTTPS, for `gatehouse check`. It delivers no record.

use super::{
    super::{
        profiles::{Calls, Unusable},
        state::Certificate,
        tls::Safety,
    },
    Status,
    connection::Connection,
    moment, of_status,
};
use crate::{
    clock::Clock,
    config::{PlatformUrl, Upstream},
};

/// The number of a call that was never made. Asked for its verdict, a platform shows whether it
/// accepts the account.
const NO_CALL: &str = "check";

/// What was found at a platform that accepted the connection.
#[derive(Debug)]
pub struct Reached {
    /// The certificates that this connection depends on; none without TLS.
    pub certificates: Vec<Certificate>,
    /// Whether the platform accepts the account: `None` if that cannot be asked without a record.
    pub account: Option<Result<(), Unusable>>,
}

/// Connects as the daemon would, and asks for the verdict on a call that was never made.
pub async fn reach(
    upstream: &Upstream,
    url: &PlatformUrl,
    calls: &dyn Calls,
    clock: &dyn Clock,
) -> Result<Reached, String> {
    let safety = Safety::new(&upstream.tls());
    let now = clock.stamp();
    let mut connection = Connection::open(url, &safety, &now).await?;
    let certificates = if url.tls() { safety.certificates() } else { Vec::new() };
    let moment = moment(clock).map_err(|e| e.to_string())?;
    let account = match calls.inquire(NO_CALL, &moment) {
        None => None,
        Some(request) => {
            let answer = connection.post(url, request, &safety, &now).await?;
            Some(match of_status(&answer) {
                Status::Answered => calls.inquired(NO_CALL, &answer.body).map(drop),
                Status::Failed(unusable) => Err(unusable),
                Status::OfThese(words) | Status::Busy(words) => Err(words.into()),
            })
        }
    };
    Ok(Reached { certificates, account })
}
