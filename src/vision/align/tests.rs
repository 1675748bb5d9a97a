use super::*;

fn moved(by: Similarity) -> Landmarks {
    TEMPLATE_LANDMARKS.map(|[x, y]| {
        let (x, y) = by.apply(f64::from(x), f64::from(y));
        [x as f32, y as f32]
    })
}

#[test]
fn a_known_similarity_is_found_again() {
    let (angle, scale): (f64, f64) = (0.4, 2.5);
    let known = Similarity { a: scale * angle.cos(), b: scale * angle.sin(), tx: 30.0, ty: -12.0 };
    let fitted = Similarity::fit(&TEMPLATE_LANDMARKS, &moved(known)).unwrap();
    for (got, want) in
        [(fitted.a, known.a), (fitted.b, known.b), (fitted.tx, known.tx), (fitted.ty, known.ty)]
    {
        assert!((got - want).abs() < 1e-4, "{fitted:?}, not {known:?}");
    }
    let (x, y) = fitted.inverse().unwrap().apply(30.0, -12.0);
    assert!(x.abs() < 1e-4 && y.abs() < 1e-4);
}

#[test]
fn a_mirrored_face_is_not_mirrored_back() {
    let mirrored = TEMPLATE_LANDMARKS.map(|[x, y]| [112.0 - x, y]);
    let fitted = Similarity::fit(&mirrored, &TEMPLATE_LANDMARKS).unwrap();
    // The determinant of a similarity is a^2 + b^2, which is never negative.
    // The result is therefore an upright face, not a mirrored one.
    assert!(fitted.a > 0.0 && fitted.b.abs() < 0.1 * fitted.a, "{fitted:?}");
}

#[test]
fn landmarks_that_are_not_a_face_are_refused() {
    let image = Image::from_rgb(2, 2, vec![9; 12]).unwrap();
    for bad in [[[3.0, 4.0]; 5], [[f32::NAN, 1.0]; 5], [[f32::INFINITY, 1.0]; 5]] {
        assert!(align(&image, &bad).is_none());
    }
    let far = TEMPLATE_LANDMARKS.map(|[x, y]| [x + 1e30, y]);
    assert!(align(&image, &far).is_none_or(|face| face.0.iter().all(|v| v.is_finite())));
}

#[test]
fn an_aligned_picture_stays_as_it_is() {
    let side = ALIGNED_SIDE as u32;
    let rgb: Vec<u8> =
        (0..side * side).flat_map(|i| [(i % side) as u8, (i / side) as u8, 7]).collect();
    let image = Image::from_rgb(side, side, rgb.clone()).unwrap();
    let Aligned(planes) = align(&image, &TEMPLATE_LANDMARKS).unwrap();
    let plane = ALIGNED_SIDE * ALIGNED_SIDE;
    // Only inner pixels are compared: at the rim rounding may reach beyond the edge.
    let at = 50 * ALIGNED_SIDE + 60;
    assert!((planes[at] - 60.0).abs() < 1e-3);
    assert!((planes[plane + at] - 50.0).abs() < 1e-3);
    assert!((planes[2 * plane + at] - 7.0).abs() < 1e-3);
}

#[test]
fn beyond_the_edge_is_black() {
    let image = Image::from_rgb(1, 1, vec![200; 3]).unwrap();
    assert_eq!(sample(&image, 0.0, 0.0), [200.0; 3]);
    assert_eq!(sample(&image, 0.5, 0.0), [100.0; 3]);
    assert_eq!(sample(&image, -5.0, 1e300), [0.0; 3]);
    assert_eq!(sample(&image, f64::MIN, f64::MAX), [0.0; 3]);
}
