//! Hands rows to the client.

use super::Session;
use crate::uplink::{
    link::LinkError,
    suspects::{Course, present},
};

impl Session<'_> {
    /// Hands rows to the client while the window has room.
    pub(super) fn publish_rows(&mut self) -> Result<(), LinkError> {
        let now = self.context.clock.monotonic();
        let (mut published, mut repeated) = (0, 0);
        while self.may_send()
            && !self.earlier.goes_alone
            && let Some((seq, row)) = self.next_row(now)
        {
            let resent = row.resent;
            let stands_aside = matches!(self.suspects.course(&present(seq)), Course::Aside(_));
            if !stands_aside {
                self.rows.handed(seq, &row);
            }
            let (message, withheld) = self.fitting(row, stands_aside)?;
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
