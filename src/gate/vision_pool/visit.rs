//! One visit after another before one camera: which face is followed, which of its frames are
//! worth the embedder's time, and when it is somebody else. Touches nothing; time is an argument.
//!
//! A visit is one person's stay. A face belongs to it that comes soon after the last one and
//! stands near it; a face that jumps, one that is unlike the visit's earlier ones, and one that the
//! roster gives another name begin the next visit. How far a face may move, and how much it may
//! grow, depends on the time between the two looks: a camera may send one frame a second, and a
//! small box may look at one in two seconds. Of its frames a good one is embedded at once. A
//! poor one waits for a better one, but not for long: nobody is ignored for a poor camera. When as
//! many frames agree as the lane needs to decide, the visit is settled, and looked at only as often
//! as it takes to notice that somebody else stands there.

use std::time::Duration;

use crate::{
    clock::Monotonic,
    gate::visit::{Agreement, GAP, GAP_UNSEARCHED},
    roster::WorkerId,
    vision::{Aligned, Face, Quality, Rect, Template},
};

/// A camera paused that sent no frame for [`GAP`], and for longer than this many times the pause
/// before. One that always sends a frame in two seconds has not paused.
const PAUSED: u32 = 2;
/// A poor look waits so long for a better one.
const BETTER_WITHIN: Duration = Duration::from_millis(300);
/// How often a settled visit is embedded again: who was recognised, and who was not, whom the next
/// look may.
const AGAIN_NAMED: Duration = Duration::from_millis(500);
const AGAIN_UNNAMED: Duration = Duration::from_millis(200);
/// Two good looks at one person are more alike than this: the roster's threshold is never below
/// 0.3 either.
const UNLIKE: f32 = 0.3;
/// Templates of the visit that a new one is compared with: the first good one and the last ones.
const KEPT: usize = 3;
/// A face that is so much wider than the one that is followed takes its place: it stands in front.
const IN_FRONT: f32 = 1.3;
/// A face's width changes by less than this factor from one frame to the next, times the second one
/// for each second between them, and at most by the third. At 1.5 m/s the way from 2 m to 0.5 m
/// takes a second, and makes a face four times as wide.
const GROWS: f32 = 2.0;
const GROWS_A_SECOND: f32 = 3.0;
const GROWS_MOST: f32 = 6.0;
/// How far a face moves: its own width, and so many widths a second (1.5 m/s is ten), at most so
/// many.
const MOVES: f32 = 1.0;
const MOVES_A_SECOND: f32 = 10.0;
const MOVES_MOST: f32 = 3.0;

/// One camera's visits.
#[derive(Debug, Default)]
pub(super) struct Visits {
    /// Rises with each visit; 0 before the first.
    number: u64,
    current: Option<Visit>,
    /// The camera's pause before its latest frame.
    pause: Duration,
}

#[derive(Debug)]
struct Visit {
    bbox: Rect,
    last_face: Monotonic,
    /// Since then a frame was searched, and it showed nobody.
    missed: bool,
    /// Since then the camera paused.
    paused: bool,
    /// Poor looks wait for a better one from here on.
    waits_from: Monotonic,
    /// The best of the poor looks that wait.
    best: Option<Look>,
    embedded: Option<Monotonic>,
    /// Biometric: gone with the visit, at the latest when the next face comes.
    kept: Vec<Template>,
    /// Whom the latest embeddings named.
    agreement: Agreement,
}

/// A face in one frame.
#[derive(Debug)]
pub(super) struct Look {
    pub at: Monotonic,
    pub quality: Quality,
    pub face: Aligned,
}

/// What a look is good for.
#[derive(Debug)]
pub(super) enum Use {
    /// To be embedded: this one, or the best of those before it.
    Embed(Look),
    /// It is poor, and a better one may come.
    SetAside,
}

impl Visits {
    /// Takes note of a frame, searched or not, that came after this pause of the camera.
    pub(super) fn sent(&mut self, pause: Duration) {
        let before = std::mem::replace(&mut self.pause, pause);
        let paused = pause > GAP && pause > before * PAUSED;
        if let Some(visit) = &mut self.current {
            visit.paused |= paused;
        }
    }

    /// Of a frame's faces the one that is followed; none is a frame without a face.
    pub(super) fn follow(&mut self, at: Monotonic, faces: Vec<Face>) -> Option<Face> {
        self.over(at);
        let wider = |a: &&Face, b: &&Face| a.bbox.w.total_cmp(&b.bbox.w);
        let Some(widest) = faces.iter().max_by(wider) else {
            self.current.iter_mut().for_each(|visit| visit.missed = true);
            return None;
        };
        let goes_on = |face: &&Face| self.current.as_ref().is_some_and(|v| v.reaches(at, face));
        let followed = faces.iter().filter(goes_on).max_by(wider);
        match followed.filter(|followed| followed.bbox.w * IN_FRONT >= widest.bbox.w) {
            Some(followed) => {
                if let Some(visit) = &mut self.current {
                    visit.bbox = followed.bbox;
                    visit.last_face = visit.last_face.max(at);
                    visit.missed = false;
                    visit.paused = false;
                }
                Some(followed.clone())
            }
            None => {
                self.begin(at, widest.bbox);
                Some(widest.clone())
            }
        }
    }

    fn over(&mut self, at: Monotonic) {
        self.current.take_if(|visit| {
            let gap = if visit.missed || visit.paused { GAP } else { GAP_UNSEARCHED };
            at.since(visit.last_face) > gap
        });
    }

    fn begin(&mut self, at: Monotonic, bbox: Rect) {
        self.number += 1;
        self.current = Some(Visit {
            bbox,
            last_face: at,
            missed: false,
            paused: false,
            waits_from: at,
            best: None,
            embedded: None,
            kept: Vec::new(),
            agreement: Agreement::default(),
        });
    }

    /// Whether the lane has what it needs to decide on whoever is there.
    pub(super) fn settled(&self, frames_to_agree: u32) -> bool {
        self.current.as_ref().is_some_and(|visit| visit.settled(frames_to_agree))
    }

    /// Whether another look at the followed face is of use; not where the visit is settled and was
    /// looked at only just now.
    pub(super) fn wants(&self, at: Monotonic, frames_to_agree: u32) -> bool {
        let Some(visit) = &self.current else { return false };
        let again = if visit.agreement.named().is_some() { AGAIN_NAMED } else { AGAIN_UNNAMED };
        let lately = visit.embedded.is_some_and(|embedded| at.since(embedded) < again);
        !(visit.settled(frames_to_agree) && lately)
    }

    /// What the look at the followed face is good for.
    pub(super) fn offer(&mut self, look: Look) -> Use {
        let Some(visit) = &mut self.current else { return Use::SetAside };
        let at = look.at;
        let chosen = if look.quality.flaw.is_none() {
            visit.best = None;
            look
        } else {
            let best = match visit.best.take() {
                Some(best) if best.quality.score >= look.quality.score => best,
                _ => look,
            };
            if at.since(visit.waits_from) < BETTER_WITHIN {
                visit.best = Some(best);
                return Use::SetAside;
            }
            best
        };
        visit.waits_from = at;
        visit.embedded = Some(at);
        Use::Embed(chosen)
    }

    /// What came of a look that was embedded: the number of the visit that it belongs to.
    pub(super) fn embedded(
        &mut self,
        at: Monotonic,
        good: bool,
        template: Template,
        named: Option<&WorkerId>,
    ) -> u64 {
        if let Some(visit) = &self.current
            && visit.is_somebody_else(good, &template, named)
        {
            let (bbox, last_face) = (visit.bbox, visit.last_face);
            self.begin(last_face, bbox);
        }
        if let Some(visit) = &mut self.current {
            visit.embedded = visit.embedded.max(Some(at));
            if good {
                if visit.kept.len() >= KEPT {
                    visit.kept.remove(1);
                }
                visit.kept.push(template);
            }
            visit.agreement.look(named);
        }
        self.number
    }
}

impl Visit {
    fn reaches(&self, at: Monotonic, face: &Face) -> bool {
        let (was, is) = (self.bbox, face.bbox);
        let wide = was.w.max(is.w);
        let elapsed = at.since(self.last_face).as_secs_f32();
        let grows = (GROWS * GROWS_A_SECOND.powf(elapsed)).min(GROWS_MOST);
        if wide > grows * was.w.min(is.w) {
            return false;
        }
        let reach = (MOVES + MOVES_A_SECOND * elapsed).min(MOVES_MOST) * wide;
        let middle = |r: Rect| (r.x + r.w / 2.0, r.y + r.h / 2.0);
        let ((x0, y0), (x1, y1)) = (middle(was), middle(is));
        (x1 - x0).hypot(y1 - y0) <= reach
    }

    fn settled(&self, frames_to_agree: u32) -> bool {
        self.agreement.suffices(frames_to_agree)
    }

    fn is_somebody_else(&self, good: bool, template: &Template, named: Option<&WorkerId>) -> bool {
        let another = matches!((self.agreement.named(), named), (Some(was), Some(is)) if was != is);
        // A poor look is unlike anybody's.
        let unlike = |kept: &Template| kept.cosine(template) < UNLIKE;
        another || (good && !self.kept.is_empty() && self.kept.iter().all(unlike))
    }
}

#[cfg(test)]
mod tests;
