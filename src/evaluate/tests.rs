use proptest::prelude::*;

use super::{
    chance::Chance,
    identify::folds,
    rates::{Sample, below, curve, equal_error, measured, sort, threshold},
    *,
};
use crate::vision::TEMPLATE_LEN;

/// Samples of few different scores, so that many are equal.
fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let one = (-5_i8..5, 0..4_u32, proptest::option::of(0..4_u32));
    let sample = |(score, person, other)| Sample { score: f32::from(score) / 5.0, person, other };
    proptest::collection::vec(one.prop_map(sample), 1..40).prop_map(|mut samples| {
        sort(&mut samples);
        samples
    })
}

fn weights() -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec((0..3_u8).prop_map(f64::from), 4)
}

fn weight(sample: &Sample, weights: &[f64]) -> f64 {
    weights[sample.person as usize] * sample.other.map_or(1.0, |other| weights[other as usize])
}

/// The share of the samples that reach a threshold, as its definition says.
fn reach(samples: &[Sample], weights: &[f64], threshold: f32) -> f64 {
    let all: f64 = samples.iter().map(|sample| weight(sample, weights)).sum();
    let reached = samples.iter().filter(|sample| sample.score >= threshold);
    reached.map(|sample| weight(sample, weights)).sum::<f64>() / all
}

/// Each threshold that tells samples apart.
fn thresholds(samples: &[Sample]) -> Vec<f32> {
    let at = samples.iter().flat_map(|sample| [sample.score, sample.score.next_up()]);
    let mut all: Vec<f32> = at.chain([f32::MIN]).collect();
    all.sort_by(f32::total_cmp);
    all
}

proptest! {
    #[test]
    fn a_threshold_is_the_lowest_that_no_larger_share_reaches(
        samples in samples(), weights in weights(), share in 0.0..1.0_f64,
    ) {
        prop_assume!(samples.iter().any(|sample| weight(sample, &weights) > 0.0));
        let found = threshold(&samples, &weights, share);
        let fits = |t: &f32| reach(&samples, &weights, *t) <= share + 1e-9;
        let lowest = thresholds(&samples).into_iter().find(fits).unwrap();
        prop_assert!(
            reach(&samples, &weights, found) == reach(&samples, &weights, lowest),
            "{found} {lowest}"
        );
        prop_assert!(fits(&found));
    }

    #[test]
    fn the_share_below_a_threshold_is_what_counting_gives(
        samples in samples(), weights in weights(), at in -1.2..1.2_f32,
    ) {
        let counted = 1.0 - reach(&samples, &weights, at);
        match below(&samples, &weights, at) {
            Some(found) => prop_assert!((found - counted).abs() < 1e-9, "{found} {counted}"),
            None => prop_assert!(counted.is_nan()),
        }
    }

    #[test]
    fn the_equal_error_rate_is_the_least_of_the_larger_errors(
        own in samples(), others in samples(), weights in weights(),
    ) {
        let error = |t: &f32| {
            (1.0 - reach(&own, &weights, *t)).max(reach(&others, &weights, *t))
        };
        let all = [own.clone(), others.clone()].concat();
        let least = thresholds(&all).iter().map(error).reduce(f64::min).unwrap();
        match equal_error(&own, &others, &weights) {
            Some(found) => prop_assert!((found - least).abs() < 1e-9, "{found} {least}"),
            None => {
                let empty = |samples| reach(samples, &weights, 0.0).is_nan();
                prop_assert!(empty(&own) || empty(&others));
            }
        }
    }

    #[test]
    fn a_curve_falls_and_an_interval_holds_rates_of_chosen_people(
        own in samples(), others in samples(),
    ) {
        let everyone = [1.0; 4];
        let points = curve(&own, &others, &everyone);
        prop_assert!(points.windows(2).all(|two| two[0][0] < two[1][0] && two[0][1] >= two[1][1]));
        let rate = |weights: &[f64]| below(&own, weights, 0.1);
        if let Some(Measured::Rate { rate, interval: [from, to] }) = measured(4, rate) {
            prop_assert!(0.0 <= from && from <= to && to <= 1.0 && (0.0..=1.0).contains(&rate));
        }
    }

    #[test]
    fn no_person_is_worker_and_stranger_and_no_threshold_is_tried_on_those_who_gave_it(
        people in 0..60_usize,
    ) {
        let mut worked = vec![0; people];
        for fold in folds(people) {
            let mut all = [&fold.workers[..], &fold.find, &fold.report].concat();
            all.sort_unstable();
            prop_assert_eq!(&all, &(0..people).collect::<Vec<_>>());
            fold.workers.iter().for_each(|person| worked[*person] += 1);
        }
        prop_assert!(worked.iter().all(|times| *times == 2));
    }
}

/// A face of a person: the nearer to 0 `away` is, the more alike are a person's faces.
fn face(chance: &mut Chance, person: usize, away: f32) -> Template {
    let mut own = Chance::of(person as u64 + 1000);
    let number = |chance: &mut Chance| chance.below(2001) as f32 / 1000.0 - 1.0;
    let values: Vec<f32> =
        (0..TEMPLATE_LEN).map(|_| number(&mut own) + away * number(chance)).collect();
    let norm = values.iter().map(|v| v * v).sum::<f32>().sqrt();
    Template::from_slice(&values.iter().map(|v| v / norm).collect::<Vec<_>>()).unwrap()
}

fn people(count: usize, photos: usize, away: f32) -> People {
    let mut chance = Chance::of(7);
    let mut photo = |person| {
        let mut face = || Some(face(&mut chance, person, away));
        Photo { enrolled: face(), seen: face() }
    };
    (0..count).map(|person| (0..photos).map(|_| photo(person)).collect()).collect()
}

const RULES: Rules = Rules {
    recognition: crate::config::Recognition {
        threshold: crate::config::Threshold::ByRoster,
        margin: 0.05,
        min_face_px: 48.0,
        frames_to_agree: 2,
        liveness: crate::config::Liveness::Off,
        liveness_threshold: 0.5,
    },
    share_of_mean: crate::roster::SHARE_OF_MEAN,
    looks: 1,
};

#[test]
fn people_who_are_easily_told_apart_have_no_errors_and_the_same_run_twice_is_the_same() {
    let people = people(24, 5, 0.5);
    let found = verification(&people);
    assert_eq!((found.own_pairs, found.other_pairs), (240, 6900));
    assert_eq!(found.eer, Measured::Rate { rate: 0.0, interval: [0.0, 0.0] });
    assert_eq!(found.tar_at_far[0].found, Measured::Rate { rate: 1.0, interval: [1.0, 1.0] });
    // Its number of pairs is too small for the rarer error.
    assert_eq!(found.tar_at_far[1].found, Measured::Needs(10_000));
    let found = identification(&people, &RULES, |_, _| {});
    let sizes: Vec<_> = found.iter().map(|found| (found.gallery, found.photos)).collect();
    assert_eq!(sizes, [(10, 1), (12, 1), (10, 2), (12, 2), (10, 3), (12, 3)]);
    for found in &found {
        // 30 looks at strangers do not show one in a hundred.
        let needs: Vec<_> = found.fnir_at_fpir.iter().map(|at| at.found).collect();
        assert_eq!(needs, [Measured::Needs(100), Measured::Needs(334)]);
        assert_eq!(found.at_gate.fnir.rate(), Some(0.0), "{found:?}");
        assert_eq!(found.at_gate.fpir.rate(), Some(0.0), "{found:?}");
    }
    let again = identification(&people, &RULES, |_, _| {});
    assert_eq!(format!("{found:?}"), format!("{again:?}"));
}

#[test]
fn people_who_are_hard_to_tell_apart_are_missed_and_more_photos_help() {
    let people = people(36, 12, 1.4);
    let found = identification(&people, &RULES, |_, _| {});
    let missed = |photos| {
        let of = found.iter().find(|found| (found.gallery, found.photos) == (18, photos)).unwrap();
        of.fnir_at_fpir[0].found.rate().unwrap()
    };
    assert!(missed(1) > missed(2) && missed(2) > missed(3), "{found:?}");
    assert!(missed(1) > 0.05 && missed(1) < 0.95, "{}", missed(1));
    let fpir = found[0].found[0].1;
    assert!((0.0..0.03).contains(&fpir), "{fpir}");
    // The mean of two looks is more like a worker than one look.
    let twice = identification(&people, &Rules { looks: 2, ..RULES }, |_, _| {});
    let at = |found: &[Identification]| found[0].at_gate.fnir.rate().unwrap();
    assert!(at(&twice) < at(&found), "{} {}", at(&twice), at(&found));
}

#[test]
fn sets_without_pairs_or_people_need_them_and_do_not_fail() {
    for (count, photos) in [(0, 0), (1, 5), (2, 1), (3, 1), (2, 2), (3, 2)] {
        let people = people(count, photos, 0.5);
        let found = verification(&people);
        if photos < 2 {
            assert_eq!(found.eer, Measured::Needs(1), "{count} {photos}");
        }
        assert!(found.tar_at_far.iter().all(|at| at.found.rate().is_none()), "{count} {photos}");
        let identified = identification(&people, &RULES, |_, _| {});
        assert!(
            identified.iter().all(|f| f.fnir_at_fpir.iter().all(|at| at.found.rate().is_none()))
        );
        assert!(det(&found, &identified).ends_with("</svg>\n"));
    }
}

#[test]
fn the_curve_is_svg_with_a_line_for_each_measurement() {
    let people = people(24, 5, 2.5);
    let svg = det(&verification(&people), &identification(&people, &RULES, |_, _| {}));
    assert_eq!(svg.matches("<polyline").count(), 4);
    for text in [">1:1<", ">1:12, photos: 3<", ">0.001 %<", ">100 %<"] {
        assert!(svg.contains(text), "{text}: {svg}");
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn each_photo_that_is_in_two_folders_is_found_once_with_the_first_one() {
    let mut set = people(12, 4, 0.5);
    assert!(twice(&set).is_empty());
    let copy = |photo: &Photo| Photo { enrolled: photo.enrolled.clone(), seen: photo.seen.clone() };
    let (a, b) = (copy(&set[2][1]), copy(&set[2][1]));
    set[7].push(a);
    set[9].insert(0, b);
    // Only one of the templates could be made, and neither of an unreadable photo.
    let frame = Photo { enrolled: None, ..copy(&set[5][3]) };
    set[6].push(frame);
    set[1].push(Photo { enrolled: None, seen: None });
    // A copy in the same folder is no stranger.
    let own = copy(&set[0][0]);
    set[0].push(own);
    assert_eq!(twice(&set), [[(2, 1), (7, 4)], [(2, 1), (9, 0)], [(5, 3), (6, 4)]]);
}
