//! The chain of updates: a worker's photos are replaced step by step, until another person passes as
//! the worker. All triples of the 40 persons of `GATEHOUSE_TEST_FACES` are tried.

use std::{path::Path, sync::OnceLock};

use gatehouse::{
    config::{FaceLimits, ModelFiles, Recognition},
    roster::anchor::{Anchor, Verdict, Voucher},
    vision::{Template, Vision},
};

use crate::import::plan;

const PERSONS: usize = 40;
/// Photos of each person that are tried.
const PHOTOS: usize = 2;
/// The score from which on an earlier version took two photos for one person, whichever of the
/// present photos it was.
const ONCE_ENOUGH: f32 = 0.3;

/// A photo and its template.
struct Shot {
    person: usize,
    photo: (usize, usize),
    template: Template,
}

/// Returns the photos of all persons, in the order of the persons.
fn shots() -> &'static [Shot] {
    static SHOTS: OnceLock<Vec<Shot>> = OnceLock::new();
    SHOTS.get_or_init(|| {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let vision = Vision::load(&ModelFiles::in_dir(&models)).unwrap();
        let shot = |photo: (usize, usize)| {
            let jpeg = plan::photo(&[photo]);
            let found = vision.face_for_enrolment(&jpeg, &FaceLimits::default());
            found.ok().map(|found| Shot { person: photo.0, photo, template: found.template })
        };
        let of = |person| {
            let own = plan::faces().filter(move |photo| photo.0 == person);
            own.filter_map(shot).take(PHOTOS).collect::<Vec<_>>()
        };
        let all: Vec<_> = (1..=PERSONS).flat_map(of).collect();
        assert_eq!(all.len(), PERSONS * PHOTOS);
        all
    })
}

/// Returns photos of three persons, each of which resembles the one before a little, and the third
/// one not the first.
pub fn chain() -> [Vec<u8>; 3] {
    let shots = shots();
    let between = |a: &Shot, b: &Shot| a.template.cosine(&b.template);
    let a_little =
        |a: &Shot, b: &Shot| a.person != b.person && (0.31..0.44).contains(&between(a, b));
    let triples = shots.iter().flat_map(|a| {
        let second = shots.iter().filter(move |b| a_little(a, b));
        second
            .flat_map(move |b| shots.iter().filter(move |c| a_little(b, c)).map(move |c| [a, b, c]))
    });
    let mut apart = triples.filter(|[a, _, c]| a.person != c.person && between(a, c) < 0.25);
    apart.next().expect("a chain among the photos").map(|shot| plan::photo(&[shot.photo]))
}

#[test]
fn i13_no_chain_of_commands_lets_a_third_person_pass_as_the_first() {
    // The default of the smallest roster is the lowest.
    let threshold = Recognition::default().threshold.in_force(1).cosine();
    let shots = shots();
    let (mut tried, mut passed, mut once_passed) = (0, 0, 0);
    for a in shots {
        let anchor = Anchor::Templates(vec![a.template.clone()]);
        // A trusted platform has the most authority that a message can have.
        let takes = |anchor: &Anchor, faces: &[&Shot]| {
            let faces: Vec<_> = faces.iter().map(|shot| shot.template.clone()).collect();
            anchor.judge(&faces, threshold, Voucher::TrustedPlatform) == Verdict::Alike
        };
        let taken: Vec<bool> = shots.iter().map(|b| takes(&anchor, &[b])).collect();
        for (b, b_taken) in shots.iter().zip(&taken).filter(|(b, _)| b.person != a.person) {
            let together = takes(&Anchor::None, &[a, b]);
            let near = a.template.cosine(&b.template);
            for (c, c_taken) in shots.iter().zip(&taken) {
                if [a.person, b.person].contains(&c.person) {
                    continue;
                }
                tried += 1;
                // The third photo is compared with the first one, whatever became of the second.
                passed += u32::from(*b_taken || *c_taken || together);
                let steps = near.min(b.template.cosine(&c.template));
                once_passed += u32::from(steps >= ONCE_ENOUGH);
            }
        }
    }
    assert_eq!(tried, PERSONS * (PERSONS - 1) * (PERSONS - 2) * PHOTOS.pow(3));
    assert!(once_passed > 0, "the photos contain chains");
    assert_eq!(passed, 0, "of {tried}");
}
