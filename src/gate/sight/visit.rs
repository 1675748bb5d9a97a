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
mod tests {
    use std::sync::OnceLock;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        camera::{Layout, Picture, Yuv},
        vision::{Flaw, TEMPLATE_LEN, View},
    };

    fn ms(ms: u64) -> Monotonic {
        Monotonic::from_millis(ms)
    }

    fn face(x: f32, w: f32) -> Face {
        let bbox = Rect { x, y: 100.0, w, h: 1.3 * w };
        Face {
            score: 0.9,
            bbox,
            landmarks: [[1.0, 1.0], [5.0, 1.0], [3.0, 3.0], [1.0, 5.0], [5.0, 5.0]],
        }
    }

    fn look(at: u64, score: f32, flaw: Option<Flaw>) -> Look {
        static FACE: OnceLock<Aligned> = OnceLock::new();
        let cut_out = || {
            let data = vec![128; 16 * 16 * 2];
            let yuv = Yuv { width: 16, height: 16, layout: Layout::Yuyv, data };
            let picture = Picture::Raw(yuv.into());
            let view = View::new(&picture).unwrap();
            view.for_detection(320).unwrap().cut_out(&face(0.0, 8.0)).unwrap()
        };
        let face = FACE.get_or_init(cut_out).clone();
        Look { at: ms(at), quality: Quality { score, flaw }, face }
    }

    fn good(at: u64) -> Look {
        look(at, 0.5, None)
    }

    fn blurred(at: u64, score: f32) -> Look {
        look(at, score, Some(Flaw::Blurred))
    }

    /// Unlike the template of any other number.
    fn template(n: usize) -> Template {
        let mut values = [0.0; TEMPLATE_LEN];
        values[n] = 1.0;
        Template::from_slice(&values).unwrap()
    }

    fn id(id: &str) -> WorkerId {
        id.parse().unwrap()
    }

    /// Follows a lone face.
    fn follows(visits: &mut Visits, at: u64, x: f32, w: f32) -> u64 {
        assert!(visits.follow(ms(at), vec![face(x, w)]).is_some());
        visits.number
    }

    #[test]
    fn a_face_that_comes_nearer_and_walks_by_is_one_visit_and_one_that_jumps_another() {
        let mut visits = Visits::default();
        assert!(visits.follow(ms(0), vec![]).is_none());
        for n in 0..10 {
            let n = n as f32;
            assert_eq!(follows(&mut visits, 67 * n as u64, 400.0 - 20.0 * n, 50.0 + 8.0 * n), 1);
        }
        // Nobody for a second, then somewhat aside.
        assert!(visits.follow(ms(1000), vec![]).is_none());
        assert_eq!(follows(&mut visits, 1600, 300.0, 130.0), 1);
        assert_eq!(follows(&mut visits, 1667, 900.0, 130.0), 2, "too far");
        assert_eq!(follows(&mut visits, 1734, 950.0, 50.0), 3, "too small");
        assert!(visits.follow(ms(1800), vec![]).is_none());
        assert_eq!(follows(&mut visits, 3300, 950.0, 50.0), 4, "too late");
        assert_eq!(follows(&mut visits, 7300, 950.0, 50.0), 4, "nobody looked in between");
        assert_eq!(follows(&mut visits, 11_301, 950.0, 50.0), 5, "not for so long");
    }

    #[test]
    fn a_face_that_comes_near_within_a_second_is_the_same_visit() {
        let mut visits = Visits::default();
        // The photos of config/bench.toml, one a second: somebody walks up, and steps back.
        for (n, wide) in [204.0, 722.0, 204.0, 722.0].into_iter().enumerate() {
            assert_eq!(follows(&mut visits, 1000 * n as u64, 300.0, wide), 1);
        }
        assert_eq!(follows(&mut visits, 3067, 300.0, 204.0), 2, "not within a frame's time");
        assert_eq!(follows(&mut visits, 5067, 300.0, 30.0), 3, "not by so much");
    }

    #[test]
    fn a_visit_ends_with_a_pause_of_the_camera_but_not_for_a_slow_one() {
        let mut visits = Visits::default();
        let mut sees = |at: u64, pause: u64| {
            visits.sent(Duration::from_millis(pause));
            follows(&mut visits, at, 300.0, 100.0)
        };
        assert_eq!((sees(0, 100), sees(100, 100)), (1, 1));
        assert_eq!(sees(1500, 1400), 1, "a hitch");
        assert_eq!(sees(4100, 2600), 1, "shorter than twice the pause before");
        assert_eq!(sees(4200, 100), 1);
        assert_eq!(sees(6800, 2600), 2);
        // A frame each two seconds.
        assert_eq!((sees(8800, 2000), sees(10_800, 2000)), (2, 2));
        // The box had no time to search, and the camera sent frames.
        assert_eq!(sees(14_000, 100), 2);
        // The camera paused, and the first frame after it was not searched.
        visits.sent(Duration::from_secs(2));
        visits.sent(Duration::from_millis(100));
        assert_eq!(follows(&mut visits, 16_200, 300.0, 100.0), 3);
    }

    #[test]
    fn who_is_followed_stays_so_until_somebody_stands_in_front() {
        let mut visits = Visits::default();
        let mut followed = |at, faces: &[(f32, f32)]| {
            let faces = faces.iter().map(|(x, w)| face(*x, *w)).collect();
            visits.follow(ms(at), faces).unwrap().bbox.x
        };
        assert_eq!(followed(0, &[(100.0, 90.0), (600.0, 100.0)]), 600.0, "the wider one");
        assert_eq!(followed(67, &[(100.0, 110.0), (600.0, 100.0)]), 600.0);
        assert_eq!(followed(134, &[(100.0, 120.0), (605.0, 100.0)]), 605.0);
        assert_eq!(followed(201, &[(100.0, 140.0), (605.0, 100.0)]), 100.0);
        assert_eq!(visits.number, 2);
    }

    #[test]
    fn a_good_look_is_embedded_at_once_until_enough_agree() {
        let mut visits = Visits::default();
        let worker = id("W001");
        let mut embedded = Vec::new();
        for at in (0..2000).step_by(67) {
            follows(&mut visits, at, 100.0, 100.0);
            if visits.wants(ms(at), 3) && matches!(visits.offer(good(at)), Use::Embed(_)) {
                assert_eq!(visits.embedded(ms(at), true, template(0), Some(&worker)), 1);
                embedded.push(at);
            }
        }
        assert_eq!(embedded, [0, 67, 134, 670, 1206, 1742]);
        assert!(visits.settled(3) && !visits.settled(7));
    }

    #[test]
    fn a_stranger_is_settled_only_when_the_lane_can_deny() {
        for (frames_to_agree, enough) in [(1, 3), (2, 4), (3, 6)] {
            let mut visits = Visits::default();
            follows(&mut visits, 0, 100.0, 100.0);
            let seen = (1..20).find(|n| {
                visits.embedded(ms(67 * n), true, template(0), None);
                visits.settled(frames_to_agree)
            });
            assert_eq!(seen, Some(enough));
            // Then the next look is tried sooner than a worker's.
            let last = 67 * enough;
            assert!(!visits.wants(ms(last + 199), frames_to_agree));
            assert!(visits.wants(ms(last + 200), frames_to_agree));
            // Whoever is recognised after all is not settled at once.
            visits.embedded(ms(last + 200), true, template(0), Some(&id("W001")));
            assert_eq!(visits.settled(frames_to_agree), frames_to_agree == 1);
        }
    }

    #[test]
    fn of_poor_looks_the_best_is_used_when_no_good_one_comes_in_time() {
        let mut visits = Visits::default();
        follows(&mut visits, 0, 100.0, 100.0);
        let mut used = Vec::new();
        for (at, score) in
            [(0, 0.1), (67, 0.3), (134, 0.2), (268, 0.1), (335, 0.2), (402, 0.4), (700, 0.3)]
        {
            if let Use::Embed(look) = visits.offer(blurred(at, score)) {
                used.push((at, look.at));
            }
        }
        assert_eq!(used, [(335, ms(67)), (700, ms(402))]);
    }

    #[test]
    fn a_good_look_takes_the_place_of_those_that_wait() {
        let mut visits = Visits::default();
        follows(&mut visits, 0, 100.0, 100.0);
        assert!(matches!(visits.offer(blurred(0, 0.9)), Use::SetAside));
        let Use::Embed(used) = visits.offer(good(67)) else { panic!() };
        assert_eq!(used.at, ms(67));
        assert!(matches!(visits.offer(blurred(300, 0.1)), Use::SetAside), "it waits anew");
        let Use::Embed(used) = visits.offer(blurred(367, 0.05)) else { panic!() };
        assert_eq!(used.at, ms(300));
    }

    #[test]
    fn a_face_that_is_somebody_elses_begins_another_visit_where_it_stands() {
        let (a, b) = (id("W001"), id("W002"));
        let mut visits = Visits::default();
        follows(&mut visits, 0, 100.0, 100.0);
        let mut embedded = |at, good, n, named| visits.embedded(ms(at), good, template(n), named);
        assert_eq!(embedded(0, true, 0, Some(&a)), 1);
        assert_eq!(embedded(67, false, 1, None), 1, "a poor look is unlike anybody's");
        assert_eq!(embedded(134, true, 0, None), 1);
        assert_eq!(embedded(201, true, 2, None), 2, "a good one is not");
        assert_eq!(embedded(268, true, 2, Some(&a)), 2);
        assert_eq!(embedded(335, true, 2, Some(&b)), 3, "another name, however alike");
        assert_eq!(embedded(402, true, 2, Some(&b)), 3);
        assert!(visits.settled(2));
    }

    #[test]
    fn i8_of_a_long_visit_a_few_templates_are_kept() {
        let mut visits = Visits::default();
        for n in 0..100 {
            follows(&mut visits, 67 * n, 100.0, 100.0);
            visits.embedded(ms(67 * n), true, template(0), None);
        }
        assert_eq!(visits.current.as_ref().unwrap().kept.len(), KEPT);
        visits.follow(ms(67 * 300), vec![]);
        assert!(visits.current.is_none(), "gone with the visit");
    }

    proptest! {
        /// Whatever comes, visits only rise, and within their windows each look has its use.
        #[test]
        fn visits_only_rise(steps in prop::collection::vec(
            (0_u64..2000, prop::collection::vec((-1e9_f32..1e9, 1e-3_f32..1e6), 0..4), 0..4_usize, any::<bool>()),
            0..60,
        )) {
            let mut visits = Visits::default();
            let (mut now, mut before) = (0, 0);
            for (step, faces, person, is_good) in steps {
                now += step;
                let any = !faces.is_empty();
                let faces = faces.into_iter().map(|(x, w)| face(x, w)).collect();
                prop_assert_eq!(visits.follow(ms(now), faces).is_some(), any);
                if any && visits.wants(ms(now), 2) {
                    let flaw = (!is_good).then_some(Flaw::TurnedAway);
                    let name = (person > 1).then(|| id(&format!("W{person}")));
                    if let Use::Embed(look) = visits.offer(look(now, 0.1, flaw)) {
                        prop_assert!(look.at <= ms(now));
                        visits.embedded(look.at, is_good, template(person), name.as_ref());
                    } else {
                        prop_assert!(!is_good);
                    }
                }
                prop_assert!(visits.number >= before);
                before = visits.number;
            }
        }
    }
}
