//! Delivers the waiting records of databases that were set aside, one after another.
//!
//! They go while no row is on its way. A record leaves on its final verdict, as a row does. A refused
//! one, and one for which the gateway lacks something, is listed and holds nothing up.

use std::{collections::VecDeque, time::Duration};

use super::{INQUIRIES, Session, verdicts::shortened};
use crate::{
    clock::Monotonic,
    ledger::{Progress, Refusal},
    uplink::{
        delivery::REFUSED_PAUSE,
        link::LinkError,
        profiles::{Parcel, Verdict},
        set_aside::{self, Page},
        suspects::Course,
    },
};

/// Maximum number of records of a database that was set aside, read at once.
const EARLIER: usize = 4;
/// Number of times that such a record is offered to a platform that does not take it for now. After
/// them it stands aside.
const OFFERS: u32 = 3;

/// The records of databases that were set aside, over one connection.
#[derive(Default)]
pub(super) struct Earlier {
    /// The records that were read and have no final verdict.
    page: VecDeque<Parcel>,
    refusals: Vec<Refusal>,
    /// What is noted when all of them have a final verdict.
    progress: Option<Progress>,
    /// The last one with a final verdict.
    judged: Option<u64>,
    /// The number under which the verdict on the first one is asked for.
    serial: Option<String>,
    /// Nothing is due before this time.
    pause_until: Option<Monotonic>,
    pause: Duration,
    /// Number of times that the platform did not take the first one for now.
    put_off: u32,
    /// None is left to send.
    pub(super) rests: bool,
}

/// What is due of these records.
pub(super) enum Next {
    Send(Parcel),
    Ask(String),
}

impl Session<'_> {
    /// Returns what is due next.
    pub(super) async fn next_earlier(&mut self, now: Monotonic) -> Result<Option<Next>, LinkError> {
        if self.earlier.rests || self.earlier.pause_until.is_some_and(|until| now < until) {
            return Ok(None);
        }
        while self.earlier.page.is_empty() {
            self.note_earlier().await?;
            let Some(read) = set_aside::next_page(&self.rows, EARLIER).await? else {
                self.earlier.rests = true;
                return Ok(None);
            };
            let Page { rows, lacking, progress } = read;
            let parcel = |(seq, row): (u64, crate::uplink::rows::Row)| Parcel {
                seq,
                message: row.message,
                resent: true,
            };
            self.earlier.page = rows.into_iter().map(parcel).collect();
            (self.earlier.refusals, self.earlier.progress) = (lacking, Some(progress));
        }
        let place = self.earlier.progress.as_ref().map(Progress::place).unwrap_or_default();
        let seq = self.earlier.page.front().map_or(0, |parcel| parcel.seq);
        let key = (place.to_owned(), seq);
        match self.suspects.course(&key) {
            Course::Aside(words) => {
                self.suspects.forget(&key);
                self.earlier_done(Some(words));
                if self.earlier.page.is_empty() {
                    self.note_earlier().await?;
                }
                return Ok(None);
            }
            Course::Last if self.last.as_ref() != Some(&key) => {
                self.earlier.pause_until = Some(now + REFUSED_PAUSE);
                self.last = Some(key);
                return Ok(None);
            }
            Course::Last | Course::Now => self.suspects.begins([key]),
        }
        let send = || self.earlier.page.front().cloned().map(Next::Send);
        Ok(self.earlier.serial.clone().map(Next::Ask).or_else(send))
    }

    /// Notes the records that have a final verdict.
    pub(super) async fn note_earlier(&mut self) -> Result<(), LinkError> {
        let Earlier { page, refusals, progress, judged, .. } = std::mem::take(&mut self.earlier);
        let Some(mut progress) = progress else { return Ok(()) };
        let mut refusals = refusals;
        if !page.is_empty() {
            let Some(seq) = judged else { return Ok(()) };
            progress = progress.only_upto(seq);
            refusals.retain(|refusal| refusal.seq <= seq);
        }
        let (context, name) = (self.rows.context, &self.rows.upstream.name);
        let refused = set_aside::note(context, name, progress, refusals).await?;
        self.rows.state.send_modify(|s| s.refused_rows = refused);
        Ok(())
    }

    /// Takes in what the platform says of the first record.
    pub(super) async fn earlier_judged(
        &mut self,
        verdict: Option<Verdict>,
    ) -> Result<(), LinkError> {
        let now = self.rows.context.clock.monotonic();
        let earlier = &mut self.earlier;
        match verdict {
            Some(Verdict::Taken) => self.earlier_done(None),
            Some(Verdict::Refused(words)) => self.earlier_done(Some(words)),
            Some(Verdict::NotNow(words)) => {
                earlier.serial = None;
                earlier.put_off += 1;
                earlier.pause_until = Some(now + REFUSED_PAUSE);
                if earlier.put_off >= OFFERS {
                    self.earlier_done(Some(words));
                }
            }
            Some(Verdict::Later(serial)) if earlier.serial.is_none() => {
                earlier.serial = Some(serial);
                earlier.pause = *INQUIRIES.start();
                earlier.pause_until = Some(now + earlier.pause);
            }
            None | Some(Verdict::Later(_)) => {
                earlier.pause_until = Some(now + earlier.pause);
                earlier.pause = (earlier.pause * 2).min(*INQUIRIES.end());
            }
        }
        match self.earlier.page.is_empty() {
            true => self.note_earlier().await,
            false => Ok(()),
        }
    }

    /// Ends the way of the first record, with the words if the platform refused it.
    fn earlier_done(&mut self, refused: Option<String>) {
        let at_ms = self.rows.context.clock.stamp().wall_ms;
        let earlier = &mut self.earlier;
        let Some(Parcel { seq, .. }) = earlier.page.pop_front() else { return };
        (earlier.serial, earlier.pause_until, earlier.put_off) = (None, None, 0);
        earlier.judged = Some(seq);
        let Some(words) = refused else { return };
        let words = shortened(&words);
        earlier.refusals.push(Refusal { seq, words: words.clone(), here: false, at_ms });
        self.trouble(format!(
            "the platform refused record {seq} of a database that was set aside ({words}): see \
             `gatehouse upstream refused {}`",
            self.rows.upstream.name
        ));
    }
}
