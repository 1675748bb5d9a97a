use super::*;

fn face(score: f32, x: f32, w: f32) -> Face {
    Face { score, bbox: Rect { x, y: 0.0, w, h: 10.0 }, landmarks: [[0.0; 2]; 5] }
}

#[test]
fn the_surest_of_overlapping_faces_stays() {
    let kept = surest(vec![face(0.7, 2.0, 10.0), face(0.9, 0.0, 10.0), face(0.8, 40.0, 10.0)]);
    let scores: Vec<f32> = kept.iter().map(|face| face.score).collect();
    assert_eq!(scores, [0.9, 0.8]);
    // An overlap of 5 of 15 is just above 0.3, 4 of 16 is below.
    assert_eq!(surest(vec![face(0.9, 0.0, 10.0), face(0.8, 5.0, 10.0)]).len(), 1);
    assert_eq!(surest(vec![face(0.9, 0.0, 10.0), face(0.8, 6.0, 10.0)]).len(), 2);
}

#[test]
fn i8_of_too_many_candidates_the_surest_are_compared() {
    let crowd = |n: u16| face(0.6 + f32::from(n) * 1e-5, f32::from(n) * 20.0, 10.0);
    let kept = surest((0..1_500).map(crowd).collect());
    assert_eq!(kept.len(), MAX_CANDIDATES);
    assert_eq!(kept.last().unwrap().bbox.x, 500.0 * 20.0);
}

/// Returns outputs for a 64 x 32 picture, in which every cell has the score 0.
fn silent() -> Vec<Vec<f32>> {
    let cells = STRIDES.map(|stride| (64 / stride) * (32 / stride));
    [1, 1, 4, 10].iter().flat_map(|size| cells.map(|cells| vec![0.0; cells * size])).collect()
}

fn read(outputs: &[Vec<f32>]) -> Result<Vec<Face>, VisionError> {
    let slices: Vec<&[f32]> = outputs.iter().map(Vec::as_slice).collect();
    candidates(&slices, 64, 32)
}

#[test]
fn a_cell_is_read_at_its_place() {
    let mut outputs = silent();
    // Stride 16, second row, third column of four: cell 6.
    outputs[1][6] = 0.81;
    outputs[4][6] = 1.7;
    outputs[7][24..28].copy_from_slice(&[0.5, 0.25, 0.0, 2f32.ln()]);
    outputs[10][60..62].copy_from_slice(&[-0.5, 1.0]);
    let faces = read(&outputs).unwrap();
    assert_eq!(faces.len(), 1);
    assert!((faces[0].score - 0.9).abs() < 1e-6);
    let Rect { x, y, w, h } = faces[0].bbox;
    assert_eq!((x, y, w), (40.0 - 8.0, 20.0 - h / 2.0, 16.0));
    assert!((h - 32.0).abs() < 1e-4);
    assert_eq!(faces[0].landmarks[0], [24.0, 32.0]);
    assert_eq!(faces[0].landmarks[1], [32.0, 16.0]);
}

#[test]
fn values_that_are_not_finite_make_no_face() {
    let mut outputs = silent();
    outputs[0][0] = f32::NAN;
    outputs[3][0] = 1.0;
    outputs[0][1] = 1.0;
    outputs[3][1] = 1.0;
    outputs[6][4 + 2] = 1000.0;
    assert_eq!(read(&outputs).unwrap(), vec![]);
    outputs[6].pop();
    assert!(read(&outputs).is_err());
    assert!(read(&outputs[..5]).is_err());
}

#[test]
fn the_longer_side_gets_the_requested_length() {
    assert_eq!(searched_size((1280, 720), 640), (640, 360));
    assert_eq!(searched_size((200, 100), 640), (640, 320));
    assert_eq!(searched_size((16_000, 2), 640), (640, 1));
}

#[test]
fn the_input_is_bgr_and_padded_with_black() {
    let image = Image::from_rgb(33, 1, [1, 2, 3].repeat(33)).unwrap();
    let input = Input::new(&image, 33, 1);
    assert_eq!((input.width, input.height), (64, 32));
    assert_eq!(input.planes[32..34], [3.0, 0.0]);
    assert_eq!(input.planes[64 * 32 + 32], 2.0);
    assert_eq!(input.planes[2 * 64 * 32 + 32], 1.0);
    assert_eq!(input.planes[64], 0.0);
}
