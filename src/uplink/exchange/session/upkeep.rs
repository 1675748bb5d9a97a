//! Takes in what a platform sends without a row, and hands its commands on.

use tokio::sync::oneshot;

use super::Session;
use crate::uplink::{link::Incoming, state::Without, wire::Kept};

/// Maximum number of commands that wait for the task that runs them.
const HEARD: usize = 1024;

impl Session<'_> {
    /// Takes in what came without a row.
    pub(super) fn kept(&mut self, kept: Kept) {
        let Kept { commands, unreadable, note, down, came_back } = kept;
        let room = HEARD.saturating_sub(self.heard.len());
        let refused = commands.len().saturating_sub(room) as u64;
        self.heard.extend(commands.into_iter().take(room));
        if came_back {
            self.pauses.end(self.rows.context.clock.monotonic());
        }
        let now = self.rows.context.clock.monotonic();
        self.rows.state.send_if_modified(|s| {
            let since =
                |what: &str| s.sessions_down.iter().find(|d| d.what == what).map(|d| d.since);
            let down: Vec<Without> = down
                .into_iter()
                .map(|(what, why)| Without { since: since(&what).unwrap_or(now), what, why })
                .collect();
            let changed = s.sessions_down != down || unreadable > 0 || refused > 0;
            s.sessions_down = down;
            s.unreadable += unreadable;
            s.commands_refused += refused;
            changed
        });
        if unreadable > 0 {
            let entries = crate::words::counted(unreadable, "entry");
            self.trouble(format!(
                "{entries} of the platform's list are illegible and were passed over"
            ));
        }
        if let Some(note) = note {
            self.trouble(note);
        }
    }

    /// Hands the next command to the task that runs them, if the one before is answered. While
    /// there is no room, it waits for the next look.
    pub(super) fn pass_on(&mut self) {
        let context = self.rows.context;
        let Some(payload) = self.heard.front().filter(|_| self.answered.is_none()) else { return };
        let held = context.memory.try_hold(2 * payload.len());
        let Some((held, place)) = held.zip(context.commands.try_reserve().ok()) else { return };
        let Some(payload) = self.heard.pop_front() else { return };
        // The platform awaits no reply. The answer is for this link.
        let (answer, answered) = oneshot::channel();
        self.answered = Some(answered);
        place.send(Incoming {
            upstream: self.rows.upstream.name.clone(),
            profile: self.rows.profile.clone(),
            authority: self.authority.clone(),
            payload,
            held,
            received: context.clock.monotonic(),
            answer,
        });
        self.rows.state.send_modify(|s| s.commands += 1);
    }
}
