//! The time that a client may take for one request.
//!
//! In: exchanges with a client, and the bytes that they moved. Out: their results, or the end of the
//! connection. Only time in which the daemon waits for the client counts. A client that keeps
//! moving bytes is never too slow, however large its photos or lists are. A client that sends a
//! photo byte by byte is.

use std::time::Duration;

use super::wire::WireError;
use crate::clock::Clock;

/// Timeout after which a client that sends nothing, or takes nothing, is cut off.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Minimum number of bytes a second, counted over a request after its first [`TIMEOUT`].
const LEAST_RATE: u64 = 32 * 1024;

/// The pace of one client.
pub(super) struct Pace<'a> {
    clock: &'a dyn Clock,
    /// Time for which the daemon has waited for the client in this request.
    waited: Duration,
    /// Bytes that the client has sent or taken in this request.
    moved: u64,
}

impl<'a> Pace<'a> {
    pub(super) fn new(clock: &'a dyn Clock) -> Pace<'a> {
        Pace { clock, waited: Duration::ZERO, moved: 0 }
    }

    /// Begins another request.
    pub(super) fn begin(&mut self) {
        (self.waited, self.moved) = (Duration::ZERO, 0);
    }

    /// Notes the bytes of an exchange.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes as u64);
    }

    /// Returns the time that the client may still take.
    fn left(&self) -> Duration {
        let earned = Duration::from_millis(self.moved.saturating_mul(1000) / LEAST_RATE);
        (TIMEOUT + earned).saturating_sub(self.waited).min(TIMEOUT)
    }

    /// Waits for an exchange with the client, for as long as the client may take.
    pub(super) async fn within<T>(
        &mut self,
        exchange: impl Future<Output = Result<T, WireError>>,
    ) -> Result<T, WireError> {
        let begun = self.clock.monotonic();
        let done = tokio::time::timeout(self.left(), exchange).await;
        self.waited += self.clock.monotonic() - begun;
        done.unwrap_or(Err(WireError::HungUp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn a_client_that_moves_bytes_may_go_on_and_one_that_trickles_them_is_cut_off() {
        /// Sends `bytes` every 10 s. Returns after which time it is cut off, if within an hour.
        async fn ends_after(bytes: usize) -> Option<u64> {
            let clock = ManualClock::new(0, true);
            let mut pace = Pace::new(&clock);
            for sent in 0..360 {
                if pace.left().is_zero() {
                    return Some(sent * 10);
                }
                let piece = async {
                    clock.advance(Duration::from_secs(10));
                    Ok(())
                };
                pace.within(piece).await.unwrap();
                pace.moved(bytes);
            }
            None
        }
        assert_eq!(ends_after(1).await, Some(30));
        assert_eq!(ends_after(10_000).await, Some(40));
        assert_eq!(ends_after(10 * LEAST_RATE as usize).await, None);
        // A fast client earns no more than the usual timeout for its next exchange.
        let clock = ManualClock::new(0, true);
        let mut pace = Pace::new(&clock);
        pace.moved(1 << 30);
        assert_eq!(pace.left(), TIMEOUT);
    }
}
