use super::*;

#[test]
fn the_message_for_a_photo_does_not_address_a_person_before_a_camera() {
    for flaw in [Flaw::Blurred, Flaw::TurnedAway, Flaw::TooDark, Flaw::TooBright, Flaw::Covered] {
        let said = PhotoError::Poor { flaw }.to_string();
        assert!(said.contains(": take another photo, "), "{said}");
        assert!(["hold still", "lens", "camera"].iter().all(|w| !said.contains(w)), "{said}");
    }
    let small = PhotoError::FaceTooSmall { width_px: 20.0, min_px: 80.0 }.to_string();
    for said in [small, PhotoError::NoFace.to_string()] {
        assert!(!said.contains("camera") && !said.contains("loser"), "{said}");
    }
}
