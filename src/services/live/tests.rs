use super::*;
use crate::vision::{TEMPLATE_LEN, Template};

#[test]
fn the_best_faces_are_kept_and_they_are_apart_in_time() {
    let mut axis = [0.0; TEMPLATE_LEN];
    axis[0] = 1.0;
    let capture = |ms: u64, quality: f32| {
        let face = FaceOnFile { template: Template::from_slice(&axis).unwrap(), jpeg: vec![] };
        CapturedFace { face, quality, at: Monotonic::from_millis(ms) }
    };
    let mut captures = Vec::new();
    for (ms, quality) in
        [(0, 0.5), (100, 0.6), (200, 0.4), (600, 0.2), (1100, 0.8), (1600, 0.7), (1700, 0.1)]
    {
        keep(&mut captures, capture(ms, quality));
    }
    let kept: Vec<_> = captures.iter().map(|l| (l.at.as_millis(), l.quality)).collect();
    assert_eq!(kept, [(100, 0.6), (1100, 0.8), (1600, 0.7)]);
}
