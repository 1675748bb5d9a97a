//! Tests of the comparison with the anchor.

use proptest::prelude::*;

use super::*;
use crate::vision::TEMPLATE_LEN;

const THRESHOLD: f32 = 0.5;

/// Returns a face at this angle, in degrees, from the first one.
fn face(degrees: f32) -> Template {
    let mut numbers = [0.0; TEMPLATE_LEN];
    (numbers[0], numbers[1]) = (degrees.to_radians().cos(), degrees.to_radians().sin());
    Template::from_slice(&numbers).unwrap()
}

fn first() -> Anchor {
    Anchor::Templates(vec![face(0.0)])
}

#[test]
fn a_face_below_the_threshold_needs_a_person_with_a_reason_and_never_comes_from_afar() {
    let unlike = [face(10.0), face(65.0)];
    for by in [Voucher::Person { reason: false }, Voucher::TrustedPlatform, Voucher::Afar] {
        let Verdict::Refused(score) = first().judge(&unlike, THRESHOLD, by) else {
            panic!("{by:?}");
        };
        assert!((score - 0.42).abs() < 0.01, "{score}");
    }
    let word = first().judge(&unlike, THRESHOLD, Voucher::Person { reason: true });
    assert!(matches!(word, Verdict::OnAPersonsWord(Some(_))), "{word:?}");
}

#[test]
fn a_similar_face_from_afar_waits_unless_its_platform_is_trusted() {
    let judged = |anchor: &Anchor, by| anchor.judge(&[face(30.0)], THRESHOLD, by);
    for anchor in [first(), Anchor::None] {
        assert_eq!(judged(&anchor, Voucher::Afar), Verdict::Waits);
        for by in [Voucher::TrustedPlatform, Voucher::Person { reason: false }] {
            assert_eq!(judged(&anchor, by), Verdict::Alike);
        }
        assert_eq!(anchor.judge(&[], THRESHOLD, Voucher::Afar), Verdict::Alike);
    }
}

#[test]
fn without_an_anchor_to_compare_with_a_person_at_the_site_decides() {
    let judged = |by| Anchor::Gone.judge(&[face(30.0)], THRESHOLD, by);
    for by in [Voucher::Afar, Voucher::TrustedPlatform] {
        assert_eq!(judged(by), Verdict::Waits);
    }
    for reason in [false, true] {
        assert_eq!(judged(Voucher::Person { reason }), Verdict::OnAPersonsWord(None));
    }
    assert_eq!(Anchor::Gone.judge(&[], THRESHOLD, Voucher::Afar), Verdict::Alike);
}

#[test]
fn the_photos_of_a_first_enrolment_are_compared_with_its_first_photo() {
    let judged =
        |faces: &[Template]| Anchor::None.judge(faces, THRESHOLD, Voucher::TrustedPlatform);
    assert_eq!(judged(&[face(0.0), face(50.0), face(-50.0)]), Verdict::Alike);
    assert!(matches!(judged(&[face(0.0), face(50.0), face(65.0)]), Verdict::Refused(_)));
}

proptest! {
    /// No sequence of commands leads further from the anchor than the threshold allows.
    #[test]
    fn no_chain_of_commands_leads_away_from_the_anchor(steps in prop::collection::vec(-180.0_f32..180.0, 1..20)) {
        let (anchor, mut present) = (first(), 0.0_f32);
        for step in steps {
            let next = present + step / 3.0;
            let by = Voucher::TrustedPlatform;
            if anchor.judge(&[face(next)], THRESHOLD, by) == Verdict::Alike {
                present = next;
            }
            prop_assert!(face(present).cosine(&face(0.0)) >= THRESHOLD);
        }
    }
}
