//! Codes in QR at this gateway: makes them, and says whether one counts.
//!
//! A code counts once, and for minutes only. So a gateway whose clock is not trusted opens no entry
//! for a code, and makes none.

use std::time::Duration;

use super::policy::Reason;
use crate::{
    clock::Stamp,
    config::Direction,
    ledger::Flag,
    reader::{Code, CodeKey, code::Says},
    roster::WorkerId,
    store::Sealer,
};

/// Maximum time for which a code counts.
pub const LIFE_MAX: Duration = Duration::from_hours(1);
/// Maximum time by which the clock of a platform that makes codes may be ahead.
const AHEAD: Duration = Duration::from_secs(120);

/// The keys of the codes that count here.
#[derive(Debug)]
pub struct Codes {
    project: String,
    gateway: String,
    own: CodeKey,
    platform: Option<CodeKey>,
}

impl Codes {
    /// `platform`: the key of the codes that a platform makes.
    pub fn new(
        (project, gateway): (String, String),
        sealer: &Sealer,
        platform: Option<CodeKey>,
    ) -> Codes {
        let own = CodeKey::new(sealer.lookup("key of codes in QR 1"));
        Codes { project, gateway, own, platform }
    }

    /// Makes a code for a worker.
    pub fn make(&self, worker: &WorkerId, now: Stamp, life: Duration, nonce: [u8; 8]) -> Code {
        let issued = now.timestamp().as_second();
        let says = Says {
            project: self.project.clone(),
            gateway: self.gateway.clone(),
            worker: worker.to_string(),
            issued,
            expires: issued.saturating_add(seconds(life)),
        };
        Code::make(says, nonce, &self.own)
    }

    /// Returns the worker of a code that counts, except that it may have been used before. I15: where
    /// the clock is not trusted, an exit is flagged and not denied.
    ///
    /// # Errors
    /// The reason for which it does not count.
    pub fn judge(
        &self,
        code: &Code,
        direction: Direction,
        now: Stamp,
    ) -> Result<(WorkerId, Vec<Flag>), Reason> {
        let says = code.says();
        if (&says.project, &says.gateway) != (&self.project, &self.gateway) {
            return Err(Reason::CodeElsewhere);
        }
        let mut keys = std::iter::once(&self.own).chain(&self.platform);
        if !keys.any(|key| code.is_signed_with(key)) {
            return Err(Reason::CodeUnknown);
        }
        let worker = says.worker.parse().map_err(|_| Reason::CodeUnknown)?;
        let lasts = says.expires.saturating_sub(says.issued);
        if !(1..=seconds(LIFE_MAX)).contains(&lasts) {
            return Err(Reason::CodeExpired);
        }
        if !now.synced {
            return match direction {
                Direction::Entry => Err(Reason::ClockNotTrusted),
                Direction::Exit => Ok((worker, vec![Flag::CLOCK])),
            };
        }
        let now = now.timestamp().as_second();
        let counts = says.issued.saturating_sub(seconds(AHEAD)) <= now && now < says.expires;
        if counts { Ok((worker, Vec::new())) } else { Err(Reason::CodeExpired) }
    }
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
