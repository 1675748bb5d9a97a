use super::*;
use crate::vision::{Rect, decode};

#[test]
fn a_portrait_is_small_for_every_box() {
    let image = Image::from_rgb(900, 600, vec![90; 900 * 600 * 3]).unwrap();
    for (x, y, w, h) in [
        (300.0, 200.0, 200.0, 260.0),
        (-50.0, -50.0, 100.0, 100.0),
        (880.0, 590.0, 100.0, 100.0),
        (5000.0, 5000.0, 10.0, 10.0),
        (0.0, 0.0, 0.0, 0.0),
    ] {
        let (bbox, landmarks) = (Rect { x, y, w, h }, [[0.0; 2]; 5]);
        let jpeg = portrait(&image, &Face { score: 0.9, bbox, landmarks }).unwrap();
        let back = decode(&jpeg).unwrap();
        assert!(back.width().max(back.height()) <= LONGEST_SIDE, "{x} {y} {w} {h}");
    }
}
