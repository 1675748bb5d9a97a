//! Hands rows to the client.

use super::Session;
use crate::uplink::link::LinkError;

impl Session<'_> {
    /// Hands rows to the client while the window has room.
    pub(super) fn publish_rows(&mut self) -> Result<(), LinkError> {
        let now = self.context.clock.monotonic();
        let (mut published, mut repeated) = (0, 0);
        while self.may_send()
            && let Some((seq, row)) = self.rows.delivery.next(now)
        {
            let resent = row.resent;
            let (message, withheld) = self.fitting(row)?;
            // The line comes before the publish, so that a killed process has logged all it sent.
            tracing::trace!(seq, resent, "a row is handed on");
            self.handed_row(&message, withheld.map(|why| (seq, why)));
            self.publish(message)?;
            published += 1;
            repeated += u64::from(resent);
        }
        if published > 0 {
            // The counters change often, so they wake no reader.
            self.state.send_if_modified(|s| {
                s.published += published;
                s.repeated += repeated;
                false
            });
        }
        Ok(())
    }
}
