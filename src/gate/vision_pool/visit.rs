//! The visits before one camera: which face to follow, which frames to embed, and when the next
//! visit begins. Touches nothing; time is an argument.
//!
//! A visit is one person's stay. A face belongs to it if it comes soon after the last one and near
//! it. The next visit begins with a face that jumps, a face that is unlike the visit's earlier
//! ones, or a face that the roster gives another name.
//!
//! The time between two looks limits how far a face may move and how much it may grow. A camera may
//! send one frame a second, and a small box may search one frame in two seconds.
//!
//! A good look is embedded at once. A poor look waits a short time for a better one, so that a
//! person before a poor camera is not ignored. A visit is settled when enough looks agree for a
//! decision of the lane. From then on its frames are searched only as often as needed to notice
//! another person.

use std::time::Duration;

use crate::{
    clock::Monotonic,
    config::MatchThreshold,
    gate::{
        pace::{GAP, Pace},
        vision_pool::{judged::Judged, queue::ALIKE},
        visit::Agreement,
    },
    ledger::Presentation,
    roster::WorkerId,
    vision::{Aligned, Face, Quality, Rect, Surroundings, Template},
};

/// Minimum factor between a camera's pause and the interval before it. A camera has paused if it
/// sent no frame for [`GAP`] and for this factor. A camera with a frame every two seconds has not.
const PAUSED: u32 = 2;
/// Timeout after which a poor look is used if no better one has come. On a slow box the next look
/// is used: a look that waited there would be too old for a decision.
const BETTER_WITHIN: Duration = Duration::from_millis(300);
/// Interval between two embeddings of a settled visit, with and without a recognised worker.
/// Without one it is shorter, because the next look may recognise the worker.
const AGAIN_NAMED: Duration = Duration::from_millis(500);
const AGAIN_UNNAMED: Duration = Duration::from_millis(200);
/// Minimum similarity (cosine) of two good looks at one person. The roster's threshold is never
/// below 0.3 either.
pub const UNLIKE: f32 = 0.3;
/// Maximum number of a visit's templates that are kept for comparison: the first good one and the
/// last ones.
const KEPT: usize = 3;
/// Maximum growth of a face's width from one look to the next: the first factor, times the second
/// factor for each second between them, and at most the third. At 1.5 m/s the way from 2 m to 0.5 m
/// takes a second and makes a face four times as wide.
const GROWS: f32 = 2.0;
const GROWS_A_SECOND: f32 = 3.0;
const GROWS_MOST: f32 = 6.0;
/// Maximum movement of a face from one look to the next, in widths of the face: the first number,
/// plus the second for each second (1.5 m/s is ten widths), and at most the third.
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
    pace: Pace,
}

#[derive(Debug)]
struct Visit {
    bbox: Rect,
    last_face: Monotonic,
    /// A frame without a face was searched since `last_face`.
    missed: bool,
    /// The camera paused since `last_face`.
    paused: bool,
    /// Time from which poor looks wait for a better one.
    waits_from: Monotonic,
    /// The best of the poor looks that wait.
    best: Option<Look>,
    embedded: Option<Monotonic>,
    /// Biometric: dropped with the visit, at the latest when the next face comes.
    kept: Vec<Template>,
    /// Agreement of the latest embeddings.
    agreement: Agreement,
    judged: Judged,
}

/// A face in one frame.
#[derive(Debug)]
pub(super) struct Look {
    pub at: Monotonic,
    pub quality: Quality,
    pub face: Aligned,
}

/// The use of a look.
#[derive(Debug)]
pub(super) enum Use {
    /// Embed this look: the offered one, or the best that waited.
    Embed(Look),
    /// The look is poor, and a better one may come.
    SetAside,
}

impl Visits {
    /// Records the camera's pause before a frame, searched or not.
    pub(super) fn sent(&mut self, pause: Duration) {
        let before = std::mem::replace(&mut self.pause, pause);
        let paused = pause > GAP && pause > before * PAUSED;
        if let Some(visit) = &mut self.current {
            visit.paused |= paused;
        }
    }

    /// Sets the pace of the looks at this camera.
    pub(super) fn paced(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// Returns the face to follow of a frame's faces; `None` if the frame has no face.
    pub(super) fn follow(&mut self, at: Monotonic, faces: Vec<Face>) -> Option<Face> {
        self.over(at);
        let wider = |a: &&Face, b: &&Face| a.bbox.w.total_cmp(&b.bbox.w);
        let Some(widest) = faces.iter().max_by(wider) else {
            self.current.iter_mut().for_each(|visit| visit.missed = true);
            return None;
        };
        let goes_on = |face: &&Face| self.current.as_ref().is_some_and(|v| v.reaches(at, face));
        let followed = faces.iter().filter(goes_on).max_by(wider);
        match followed.filter(|followed| followed.bbox.w * ALIKE >= widest.bbox.w) {
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
        let pace = self.pace;
        self.current.take_if(|visit| {
            let there = !visit.missed && !visit.paused;
            at.since(visit.last_face) > if there { pace.gap_unsearched() } else { pace.gap() }
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
            judged: Judged::default(),
        });
    }

    /// Returns the width of the followed face if the current visit is not settled.
    pub(super) fn unsettled(&self, frames_to_agree: u32) -> Option<f32> {
        let visit = self.current.as_ref().filter(|visit| !visit.settled(frames_to_agree))?;
        Some(visit.bbox.w)
    }

    /// Returns the number of looks with which the current visit is settled, or the next one.
    pub(super) fn needed(&self, frames_to_agree: u32) -> u32 {
        let agreement = self.current.as_ref().map(|visit| &visit.agreement);
        agreement.unwrap_or(&Agreement::default()).needed(frames_to_agree)
    }

    /// Returns whether enough looks of the current visit agree for a decision of the lane.
    pub(super) fn settled(&self, frames_to_agree: u32) -> bool {
        self.current.as_ref().is_some_and(|visit| visit.settled(frames_to_agree))
    }

    /// Returns whether to look at the followed face again. The answer is no if the visit is settled
    /// and was embedded a moment ago.
    pub(super) fn wants(&self, at: Monotonic, frames_to_agree: u32) -> bool {
        let Some(visit) = &self.current else { return false };
        let again = if visit.agreement.named().is_some() { AGAIN_NAMED } else { AGAIN_UNNAMED };
        let lately = visit.embedded.is_some_and(|embedded| at.since(embedded) < again);
        !(visit.settled(frames_to_agree) && lately)
    }

    /// Decides on the use of a look at the followed face.
    pub(super) fn offer(&mut self, look: Look) -> Use {
        let Some(visit) = &mut self.current else { return Use::SetAside };
        let at = look.at;
        let chosen = if look.quality.flaw.is_none() {
            visit.best = None;
            look
        } else {
            let best = match visit.best.take() {
                Some(best)
                    if best.quality.score >= look.quality.score
                        && self.pace.in_time(at.since(best.at)) =>
                {
                    best
                }
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

    /// Returns the mean of a good look and of the visit's kept looks that are like it; `None` if there
    /// are no such looks. One person's looks differ by chance, and their mean is nearer to the
    /// person's photos. `same`: minimum similarity of two looks at one person, which a person who
    /// takes the place of another one does not reach.
    pub(super) fn mean(&self, look: &Template, same: MatchThreshold) -> Option<Template> {
        let kept = self.current.iter().flat_map(|visit| &visit.kept);
        let mut alike = kept.filter(|kept| kept.cosine(look) >= same.cosine()).peekable();
        alike.peek()?;
        Template::mean(alike.chain([look]))
    }

    /// Adds a look to the judgement on a living face of the current visit, and returns it.
    pub(super) fn judge(
        &mut self,
        score: Option<f32>,
        surroundings: Option<Surroundings>,
    ) -> Option<Presentation> {
        self.current.as_mut()?.judged.look(score, surroundings)
    }

    /// Records an embedded look. Returns the number of its visit.
    pub(super) fn embedded(
        &mut self,
        at: Monotonic,
        good: bool,
        template: Template,
        named: Option<&WorkerId>,
    ) -> u64 {
        if let Some(visit) = &self.current
            && visit.is_another_person(good, &template, named)
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
            // The looks at a face without this name may be of another person.
            if visit.agreement.named() != named {
                visit.judged = Judged::default();
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

    fn is_another_person(&self, good: bool, template: &Template, named: Option<&WorkerId>) -> bool {
        let another = matches!((self.agreement.named(), named), (Some(was), Some(is)) if was != is);
        // The template of a poor look is unlike every other one, also of the same person.
        let unlike = |kept: &Template| kept.cosine(template) < UNLIKE;
        another || (good && !self.kept.is_empty() && self.kept.iter().all(unlike))
    }
}

#[cfg(test)]
mod tests;
