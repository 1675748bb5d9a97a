use super::*;
use crate::roster::Person;
use proptest::prelude::*;

fn worker(id: usize) -> Worker {
    let id: WorkerId = format!("W{id:03}").parse().unwrap();
    let text = || "x".to_owned();
    let person = Person { id, name: text(), team: text(), contractor: text(), trade: text() };
    Worker { templates: 1, ..Worker::new(person) }
}

fn template(numbers: Vec<f32>) -> Template {
    let norm = numbers.iter().map(|x| x * x).sum::<f32>().sqrt();
    let unit: Vec<f32> = numbers.iter().map(|x| x / norm).collect();
    Template::from_slice(&unit).unwrap()
}

fn any_template() -> impl Strategy<Value = Template> {
    proptest::collection::vec(-1.0_f32..1.0, TEMPLATE_LEN)
        .prop_filter("not all zero", |v| v.iter().any(|x| x.abs() > 0.1))
        .prop_map(template)
}

/// Returns a template, or numbers with zeros, values near zero, infinities and NaN.
fn any_numbers() -> impl Strategy<Value = [f32; TEMPLATE_LEN]> {
    let odd = proptest::collection::vec(
        prop_oneof![
            8 => -1.0_f32..1.0,
            2 => Just(0.0),
            1 => Just(-0.0),
            1 => Just(f32::MIN_POSITIVE / 8.0),
            1 => proptest::num::f32::ANY,
        ],
        TEMPLATE_LEN,
    );
    prop_oneof![
        any_template().prop_map(|t| t.as_slice().to_vec()),
        odd,
        Just(vec![0.0; TEMPLATE_LEN]),
        Just(vec![f32::MIN_POSITIVE / 1024.0; TEMPLATE_LEN]),
    ]
    .prop_map(|numbers| numbers.try_into().unwrap())
}

/// Returns the score as its definition says it, with the mean template written out.
fn plain_score(templates: &[Template], probe: &Template) -> Option<f32> {
    let nearest = templates.iter().map(|t| t.cosine(probe)).reduce(f32::max)?;
    let sum = (0..TEMPLATE_LEN).map(|i| templates.iter().map(|t| t.as_slice()[i]).sum());
    let mean = template(sum.collect()).cosine(probe);
    Some((1.0 - SHARE_OF_MEAN) * nearest + SHARE_OF_MEAN * mean)
}

/// Returns a template at an angle in the plane of the first two axes.
fn at(degrees: f32) -> Template {
    let mut numbers = vec![0.0; TEMPLATE_LEN];
    (numbers[1], numbers[0]) = degrees.to_radians().sin_cos();
    template(numbers)
}

fn near(a: f32, b: f32) -> bool {
    (a - b).abs() < 1e-6
}

#[test]
fn a_single_template_scores_its_cosine_and_several_also_their_mean() {
    let roster =
        Roster::new(1, vec![(worker(0), vec![at(0.0)]), (worker(1), vec![at(90.0), at(150.0)])]);
    let single = roster.best(&at(-60.0)).unwrap();
    assert!(single.worker.person.id.as_str() == "W000" && near(single.score, 0.5), "{single:?}");
    let middle = roster.best(&at(120.0)).unwrap();
    let score = (1.0 - SHARE_OF_MEAN) * 30_f32.to_radians().cos() + SHARE_OF_MEAN;
    assert!(middle.worker.person.id.as_str() == "W001" && near(middle.score, score), "{middle:?}");
    assert!(near(middle.margin.unwrap(), score + 0.5), "{middle:?}");
}

#[test]
fn templates_without_a_mean_never_score_above_the_nearest() {
    let roster = Roster::new(1, vec![(worker(0), vec![at(0.0), at(180.0)])]);
    for degrees in [0.0, 37.0, 90.0, 181.0] {
        let (face, id) = (at(degrees), worker(0).person.id);
        let found = roster.best(&face).unwrap();
        assert!(found.score <= roster.likeness(&id, &face).unwrap() + 1e-3, "{found:?}");
    }
}

proptest! {
    #[test]
    fn the_nearest_but_one_equals_the_first_of_all_sorted_cosines(
        faces in proptest::collection::vec(proptest::collection::vec(any_template(), 0..4), 1..8),
        probe in any_template(),
    ) {
        let roster = Roster::new(1, faces.iter().enumerate().map(|(i, t)| (worker(i), t.clone())).collect());
        let own = worker(0).person.id;
        let others = faces.iter().skip(1).flatten().map(|t| t.cosine(&probe)).reduce(f32::max);
        let found = roster.nearest_but(&probe, &own);
        prop_assert_eq!(found.is_some(), others.is_some());
        if let (Some((worker, cosine)), Some(wanted)) = (found, others) {
            prop_assert!((cosine - wanted).abs() < 1e-5);
            prop_assert_eq!(roster.likeness(&worker.person.id, &probe), Some(cosine));
        }
    }

    /// `Template` refuses the values at the edge; the loops must agree on them, too.
    #[test]
    fn the_loop_for_the_cpu_at_hand_answers_as_the_plain_one_to_the_last_bit(
        faces in proptest::collection::vec(proptest::collection::vec(any_numbers(), 0..4), 0..12),
        probe in any_numbers(),
        share in 0.0_f32..=1.0,
    ) {
        let mut roster = Roster::default();
        for (n, own) in faces.iter().enumerate() {
            roster.push(Arc::new(worker(n)), own.iter().map(|numbers| &numbers[..]));
        }
        let bits = |found: Option<Match>| found.map(|m| {
            // The bits of a NaN say nothing.
            let bits = |x: f32| if x.is_nan() { None } else { Some(x.to_bits()) };
            (m.worker, bits(m.score), m.margin.map(bits))
        });
        let plain = bits(best_by(roster.each(), &probe, share, None));
        prop_assert_eq!(&bits(best_by(roster.each(), &probe, share, Some(&sketch::Face::new(&probe)))), &plain);
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: this CPU has AVX2.
            let found = bits(unsafe { best_by_avx2(roster.each(), &probe, share) });
            prop_assert_eq!(&found, &plain);
        }
        // And what the gate asks for, where the probe can be a template.
        if let Ok(face) = Template::from_slice(&probe) {
            prop_assert_eq!(bits(roster.best_with(&face, share)), plain);
        }
    }

    /// The differences between these people are below what a sketch shows.
    #[test]
    fn among_people_who_are_alike_the_sketches_change_no_answer(
        face in any_template(),
        noise in proptest::collection::vec(
            proptest::collection::vec(-2e-3_f32..2e-3, TEMPLATE_LEN), 3..60),
        of_each in 1..4_usize,
        share in 0.0_f32..=1.0,
    ) {
        let varied = |noise: &Vec<f32>| template(face.as_slice().iter().zip(noise).map(|(a, b)| a + b).collect());
        let faces: Vec<Template> = noise.iter().map(varied).collect();
        let roster = Roster::new(1, faces.chunks(of_each).enumerate().map(|(n, own)| (worker(n), own.to_vec())).collect());
        let probe = face.as_slice().try_into().unwrap();
        let plain = best_by(roster.each(), probe, share, None);
        let found = roster.best_with(&face, share);
        let told = |found: Option<Match>| found.map(|m| (m.worker, m.score, m.margin));
        prop_assert_eq!(told(found), told(plain));
    }

    #[test]
    fn the_sketches_show_of_nearly_all_people_that_they_are_not_the_best_two(
        faces in proptest::collection::vec(any_template(), 400),
        share in 0.0_f32..=1.0,
    ) {
        let roster = Roster::new(1, faces.iter().enumerate().map(|(n, t)| (worker(n), vec![t.clone()])).collect());
        let probe = faces[7].as_slice().try_into().unwrap();
        let sketch = sketch::Face::new(probe);
        let found = roster.best_with(&faces[7], share).unwrap();
        let second = found.score - found.margin.unwrap();
        let read = roster.each().filter(|each| !sketch.score_is_below(second, each, share)).count();
        prop_assert!((2..20).contains(&read), "{} templates were read", read);
    }

    #[test]
    fn the_best_match_equals_the_first_of_all_sorted_scores(
        faces in proptest::collection::vec(proptest::collection::vec(any_template(), 0..4), 0..12),
        probe in any_template(),
    ) {
        let roster = Roster::new(1, faces.iter().enumerate().map(|(i, t)| (worker(i), t.clone())).collect());
        let mut best: Vec<(f32, usize)> =
            faces.iter().enumerate().filter_map(|(i, t)| Some((plain_score(t, &probe)?, i))).collect();
        best.sort_by(|a, b| b.0.total_cmp(&a.0));
        match roster.best(&probe) {
            None => prop_assert!(best.is_empty()),
            Some(found) => {
                prop_assert!((found.score - best[0].0).abs() < 1e-5);
                let margin = best.get(1).map(|second| best[0].0 - second.0);
                prop_assert_eq!(found.margin.is_some(), margin.is_some());
                if let (Some(a), Some(b)) = (found.margin, margin) {
                    prop_assert!((a - b).abs() < 1e-5);
                    if b > 1e-4 {
                        prop_assert_eq!(found.worker.person.id.as_str(), format!("W{:03}", best[0].1));
                    }
                }
            }
        }
    }

    /// A snapshot changed worker by worker equals the snapshot that is loaded in full.
    #[test]
    fn a_changed_snapshot_equals_one_that_is_loaded_in_full(
        changes in proptest::collection::vec((0..6_usize, proptest::option::of(
            proptest::collection::vec(any_template(), 0..3))), 0..12),
        probe in any_template(),
    ) {
        let mut all = std::collections::BTreeMap::new();
        let mut roster = Roster::default();
        for (version, (who, faces)) in (1..).zip(changes) {
            match &faces {
                Some(faces) => drop(all.insert(who, faces.clone())),
                None => drop(all.remove(&who)),
            }
            let id = worker(who).person.id;
            roster = roster.with(version, &id, faces.map(|faces| (worker(who), faces)));
        }
        let whole = Roster::new(roster.version(), all.into_iter().map(|(n, f)| (worker(n), f)).collect());
        prop_assert_eq!(&roster.workers, &whole.workers);
        prop_assert_eq!(&roster.facts, &whole.facts);
        prop_assert_eq!(&*roster.templates, &*whole.templates);
        prop_assert_eq!(&*roster.sketches, &*whole.sketches);
        let best = |r: &Roster| r.best(&probe).map(|m| (m.worker, m.score, m.margin));
        prop_assert_eq!(best(&roster), best(&whole));
        for w in roster.workers() {
            prop_assert_eq!(roster.worker(&w.person.id), Some(w));
        }
    }
}

#[test]
fn i13_pending_workers_do_not_raise_the_threshold() {
    let waits = Some(crate::roster::Waits { what: WaitsWhat::Worker, from: "platform".into() });
    let pending = Worker { waits, ..worker(2) };
    let roster = Roster::new(1, vec![(worker(1), vec![at(0.0)]), (pending, vec![at(90.0); 5])]);
    assert_eq!((roster.templates(), roster.confirmed_templates()), (6, 1));
}
