//! One visit after another before one camera: which face is followed, which of its frames are
//! worth the embedder's time, and when it is somebody else. Touches nothing; time is an argument.
//!
//! A visit is one person's stay. A face belongs to it that comes soon after the last one and
//! stands near it; a face that jumps, one that is unlike the visit's earlier ones, and one that the
//! roster gives another name begin the next visit. Of its frames a good one is embedded at once. A
//! poor one waits for a better one, but not for long: nobody is ignored for a poor camera. When as
//! many frames agree as the lane needs to decide, the visit is settled, and looked at only as often
//! as it takes to notice that somebody else stands there.

use std::time::Duration;

use crate::{
    clock::Monotonic,
    roster::WorkerId,
    vision::{Aligned, Face, Quality, Rect, Template},
};

/// Without a face for longer, the visit is over. As the lane has it.
const GAP: Duration = Duration::from_millis(1500);
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
/// From one frame to the next a face's width changes by less than this factor.
const GROWS: f32 = 2.0;
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
}

#[derive(Debug)]
struct Visit {
    bbox: Rect,
    last_face: Monotonic,
    /// Poor looks wait for a better one from here on.
    waits_from: Monotonic,
    /// The best of the poor looks that wait.
    best: Option<Look>,
    embedded: Option<Monotonic>,
    /// Biometric: gone with the visit, at the latest when the next face comes.
    kept: Vec<Template>,
    /// Whom the latest embeddings named, and how many of them agree in that.
    named: Option<WorkerId>,
    agreeing: u32,
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
    /// Of a frame's faces the one that is followed; none is a frame without a face.
    pub(super) fn follow(&mut self, at: Monotonic, faces: Vec<Face>) -> Option<Face> {
        self.over(at);
        let wider = |a: &&Face, b: &&Face| a.bbox.w.total_cmp(&b.bbox.w);
        let widest = faces.iter().max_by(wider)?;
        let goes_on = |face: &&Face| self.current.as_ref().is_some_and(|v| v.reaches(at, face));
        let followed = faces.iter().filter(goes_on).max_by(wider);
        match followed.filter(|followed| followed.bbox.w * IN_FRONT >= widest.bbox.w) {
            Some(followed) => {
                if let Some(visit) = &mut self.current {
                    visit.bbox = followed.bbox;
                    visit.last_face = visit.last_face.max(at);
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
        self.current.take_if(|visit| at.since(visit.last_face) > GAP);
    }

    fn begin(&mut self, at: Monotonic, bbox: Rect) {
        self.number += 1;
        self.current = Some(Visit {
            bbox,
            last_face: at,
            waits_from: at,
            best: None,
            embedded: None,
            kept: Vec::new(),
            named: None,
            agreeing: 0,
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
        let again = if visit.named.is_some() { AGAIN_NAMED } else { AGAIN_UNNAMED };
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
            let agrees = visit.agreeing > 0 && visit.named.as_ref() == named;
            visit.agreeing = if agrees { visit.agreeing.saturating_add(1) } else { 1 };
            visit.named = named.cloned();
        }
        self.number
    }
}

impl Visit {
    fn reaches(&self, at: Monotonic, face: &Face) -> bool {
        let (was, is) = (self.bbox, face.bbox);
        let wide = was.w.max(is.w);
        if wide > GROWS * was.w.min(is.w) {
            return false;
        }
        let elapsed = at.since(self.last_face).as_secs_f32();
        let reach = (MOVES + MOVES_A_SECOND * elapsed).min(MOVES_MOST) * wide;
        let middle = |r: Rect| (r.x + r.w / 2.0, r.y + r.h / 2.0);
        let ((x0, y0), (x1, y1)) = (middle(was), middle(is));
        (x1 - x0).hypot(y1 - y0) <= reach
    }

    fn settled(&self, frames_to_agree: u32) -> bool {
        let enough = match self.named {
            Some(_) => frames_to_agree,
            // What the lane needs to deny.
            None => frames_to_agree.saturating_mul(2).max(3),
        };
        self.agreeing >= enough
    }

    fn is_somebody_else(&self, good: bool, template: &Template, named: Option<&WorkerId>) -> bool {
        let another = matches!((&self.named, named), (Some(was), Some(is)) if was != is);
        // A poor look is unlike anybody's.
        let unlike = |kept: &Template| kept.cosine(template) < UNLIKE;
        another || (good && !self.kept.is_empty() && self.kept.iter().all(unlike))
    }
}
