//! Carries out the platform's verdicts on rows.

use std::collections::BTreeSet;

use super::{INQUIRIES, Session, Waiting};
use crate::{
    failpoint,
    ledger::{self, Refusal},
    store::Priority,
    uplink::{link::LinkError, profiles::Verdict},
    words::without_numbers,
};

/// Maximum length of a platform's words, in characters.
const WORDS: usize = 300;

impl Session<'_> {
    /// Takes in the verdicts on the rows of a call.
    pub(super) async fn judged(
        &mut self,
        topic: &str,
        keys: Vec<(u16, u64)>,
        verdicts: Vec<Verdict>,
    ) -> Result<(), LinkError> {
        let now = self.rows.context.clock.monotonic();
        let refuses_all = verdicts.len() > 1
            && verdicts.iter().all(|verdict| matches!(verdict, Verdict::Refused(_)))
            && verdicts.windows(2).all(|two| two.first() == two.last());
        if refuses_all {
            // One record may have spoilt the call of all.
            return self.send_alone(keys.into_iter()).await;
        }
        let mut serials: Vec<(u64, String)> = Vec::new();
        for ((packet, seq), verdict) in keys.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Taken => {
                    self.alone.remove(&seq);
                    self.rows.delivery.acknowledged(packet, now);
                    failpoint::at("uplink.acknowledged");
                }
                Verdict::Refused(words) => {
                    self.rows.delivery.undecided(packet);
                    self.refused(seq, words);
                }
                Verdict::Later(serial) => {
                    self.rows.delivery.undecided(packet);
                    serials.push((seq, serial));
                }
                Verdict::NotNow(words) => {
                    self.rows.delivery.undecided(packet);
                    self.pauses.put(topic, seq, now);
                    let words = shortened(&words);
                    self.rows.state.send_modify(|s| s.refused += 1);
                    self.trouble(format!(
                        "the platform did not take a record for now ({words}). It is offered again \
                         each minute"
                    ));
                }
            }
        }
        if !serials.is_empty() {
            let (name, kept) = (self.rows.upstream.name.clone(), serials.clone());
            let at_ms = self.rows.context.clock.stamp().wall_ms;
            let keep =
                self.rows.context.store.write(Priority::Upkeep, move |tx| {
                    ledger::await_verdict(tx, &name, &kept, at_ms)
                });
            keep.await?;
            failpoint::at("uplink.undecided");
            for (seq, serial) in serials {
                self.wait_for(serial, [seq], now);
            }
        }
        Ok(())
    }

    /// Sends rows of a refused call again, each by itself.
    async fn send_alone(
        &mut self,
        keys: impl Iterator<Item = (u16, u64)>,
    ) -> Result<(), LinkError> {
        let mut seqs = BTreeSet::new();
        for (packet, seq) in keys {
            self.rows.delivery.undecided(packet);
            seqs.insert(seq);
        }
        self.again(seqs).await
    }

    /// Sends undecided rows again, each by itself.
    async fn again(&mut self, seqs: BTreeSet<u64>) -> Result<(), LinkError> {
        self.rows.settle().await?;
        if let (Some(first), Some(last)) = (seqs.first(), seqs.last()) {
            self.rows.delivery.again(*first, *last);
        }
        self.alone.extend(seqs);
        Ok(())
    }

    pub(super) fn refused(&mut self, seq: u64, words: String) {
        self.alone.remove(&seq);
        let at_ms = self.rows.context.clock.stamp().wall_ms;
        let words = shortened(&words);
        tracing::warn!(upstream = %self.rows.upstream.name, seq, words, "the platform refused a record");
        self.trouble(format!(
            "the platform refused record {seq} ({words}): see `gatehouse upstream refused {}`",
            self.rows.upstream.name
        ));
        self.rows.refusals.push(Refusal { seq, words, here: false, at_ms });
    }

    /// Takes in the answer to an inquiry.
    pub(super) async fn answered(
        &mut self,
        serial: String,
        verdict: Option<Verdict>,
    ) -> Result<(), LinkError> {
        let now = self.rows.context.clock.monotonic();
        if let Some(Verdict::Later(words) | Verdict::NotNow(words)) = &verdict {
            let words = shortened(words);
            self.trouble(format!("the platform has no verdict on a call: {words}"));
        }
        let Some(waiting) = self.waiting.get_mut(&serial) else { return Ok(()) };
        // A platform that forgets each call does not get its rows again at once for ever.
        let forgotten_again = matches!(verdict, Some(Verdict::NotNow(_)))
            && waiting.pause < *INQUIRIES.end()
            && waiting.seqs.is_subset(&self.alone);
        let verdict = match verdict {
            Some(verdict) if !matches!(verdict, Verdict::Later(_)) && !forgotten_again => verdict,
            _ => {
                waiting.at = now + waiting.pause;
                waiting.pause = (waiting.pause * 2).min(*INQUIRIES.end());
                return Ok(());
            }
        };
        let Some(Waiting { seqs, .. }) = self.waiting.remove(&serial) else { return Ok(()) };
        self.tell_undecided();
        match verdict {
            Verdict::Taken => {
                seqs.iter().for_each(|seq| {
                    self.alone.remove(seq);
                    self.rows.delivery.judged(*seq);
                });
                failpoint::at("uplink.acknowledged");
                Ok(())
            }
            Verdict::Refused(words) if seqs.len() == 1 => {
                seqs.into_iter().for_each(|seq| self.refused(seq, words.clone()));
                Ok(())
            }
            // One record may have spoilt the call of all; or the platform has forgotten the call.
            _ => {
                let (name, lost) = (self.rows.upstream.name.clone(), seqs.clone());
                let forget = self.rows.context.store.write(Priority::Upkeep, move |tx| {
                    ledger::forget_serials(tx, &name, &lost.into_iter().collect::<Vec<_>>())
                });
                forget.await?;
                self.again(seqs).await
            }
        }
    }
}

/// Returns a platform's words, as they are kept and shown: on one line, without control characters and
/// without ID numbers.
pub(super) fn shortened(words: &str) -> String {
    let plain = words.chars().map(|c| if c.is_control() { ' ' } else { c });
    without_numbers(&plain.take(WORDS).collect::<String>())
}
