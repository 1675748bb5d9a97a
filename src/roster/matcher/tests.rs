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

proptest! {
    #[test]
    fn the_best_match_equals_the_first_of_all_sorted_scores(
        faces in proptest::collection::vec(proptest::collection::vec(any_template(), 0..4), 0..12),
        probe in any_template(),
    ) {
        let roster = Roster::new(1, faces.iter().enumerate().map(|(i, t)| (worker(i), t.clone())).collect());
        let mut best: Vec<(f32, usize)> = faces.iter().enumerate()
            .filter_map(|(i, t)| t.iter().map(|t| t.cosine(&probe)).reduce(f32::max).map(|s| (s, i)))
            .collect();
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
        prop_assert_eq!(&roster.owners, &whole.owners);
        prop_assert_eq!(&*roster.templates, &*whole.templates);
        let best = |r: &Roster| r.best(&probe).map(|m| (m.worker, m.score, m.margin));
        prop_assert_eq!(best(&roster), best(&whole));
        for w in roster.workers() {
            prop_assert_eq!(roster.worker(&w.person.id), Some(w));
        }
    }
}
