use super::*;
use crate::roster::{Person, Worker};

/// Returns a face of a person: the larger the angle, the less like the person's other faces.
fn face(person: usize, chance: usize, degrees: f32) -> Template {
    let mut values = [0.0; TEMPLATE_LEN];
    (values[chance], values[person]) = degrees.to_radians().sin_cos();
    Template::from_slice(&values).unwrap()
}

fn roster(workers: &[Vec<Template>]) -> Roster {
    let text = || "x".to_owned();
    let worker = |n: usize, faces: &Vec<Template>| {
        let id = format!("W{n}").parse().unwrap();
        let person = Person { id, name: text(), team: text(), contractor: text(), trade: text() };
        (Worker::new(person), faces.clone())
    };
    Roster::new(1, workers.iter().enumerate().map(|(n, faces)| worker(n, faces)).collect())
}

fn advice(roster: &Roster, id: &str) -> Option<(Lack, Option<String>)> {
    let found = roster.advice(&id.parse().unwrap(), MatchThreshold::new(0.45).unwrap())?;
    Some((found.lacks, found.other.map(|other| other.to_string())))
}

#[test]
fn photos_are_advised_on_by_what_they_lack() {
    let varied = vec![face(0, 10, 0.0), face(0, 10, 50.0)];
    let alike = vec![face(1, 11, 0.0), face(1, 11, 10.0), face(1, 12, 10.0)];
    let roster = roster(&[varied, alike, vec![face(2, 13, 0.0)], Vec::new()]);
    assert_eq!(advice(&roster, "W0"), None);
    assert_eq!(advice(&roster, "W1"), Some((Lack::Variety, None)));
    assert_eq!(advice(&roster, "W2"), Some((Lack::Second, None)));
    assert_eq!(advice(&roster, "W3"), None, "without a face");
    assert_eq!(advice(&roster, "W9"), None, "not on the roster");
}

#[test]
fn a_worker_near_another_one_is_named_to_both() {
    // 66 degrees are a cosine of 0.41, and 71 degrees one of 0.33.
    let near = roster(&[vec![face(0, 1, 0.0)], vec![face(0, 1, 66.0), face(2, 3, 0.0)]]);
    assert_eq!(advice(&near, "W0"), Some((Lack::Distance, Some("W1".to_owned()))));
    assert_eq!(advice(&near, "W1"), Some((Lack::Distance, Some("W0".to_owned()))));
    let far = roster(&[vec![face(0, 1, 0.0)], vec![face(0, 1, 71.0), face(2, 3, 0.0)]]);
    assert_eq!(advice(&far, "W0"), Some((Lack::Second, None)));
    assert_eq!(advice(&far, "W1"), None);
    let said = near.advice(&"W0".parse().unwrap(), MatchThreshold::new(0.45).unwrap()).unwrap();
    assert!(said.to_string().contains("similar to that of worker W1"), "{said}");
}
