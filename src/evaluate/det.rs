//! The curve of both errors (detection error trade-off) as SVG. Both axes are logarithmic.

use std::fmt::Write as _;

use super::{Identification, Point, Verification};

/// Size of the picture and its margins, in pixels.
const SIZE: [f64; 2] = [760.0, 560.0];
const LEFT: f64 = 80.0;
const TOP: f64 = 40.0;
const RIGHT: f64 = 210.0;
const BOTTOM: f64 = 70.0;
/// The axes begin at this power of ten, and end at 1.
const LEAST: i32 = -5;
const COLOURS: [&str; 4] = ["#222222", "#1b6ca8", "#c1461f", "#2f7d32"];

/// Returns the curves: one photo against one photo, and a photo against the largest roster with each
/// number of photos.
pub fn det(verification: &Verification, identification: &[Identification]) -> String {
    let mut curves = vec![("1:1".to_owned(), &verification.curve)];
    for photos in 1..=3 {
        let largest = identification.iter().filter(|found| found.photos == photos);
        curves.extend(largest.max_by_key(|found| found.gallery).map(|found| {
            let name = format!("1:{}, photos: {photos}", found.gallery);
            (name, &found.curve)
        }));
    }
    let [width, height] = SIZE;
    let (right, bottom) = (width - RIGHT, height - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<title>Detection error trade-off</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for power in LEAST..=0 {
        let share = 10_f64.powi(power);
        let ([x, _], [_, y]) = (place([share, 1.0]), place([1.0, share]));
        let label = label(power);
        // Writing to a text never fails.
        let _ = write!(
            svg,
            "<path d=\"M{x:.1} {TOP}V{bottom}M{LEFT} {y:.1}H{right}\" stroke=\"#dddddd\"/>\n\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>\n\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n",
            bottom + 20.0,
            LEFT - 8.0,
            y + 4.0
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">others accepted (FAR, FPIR)</text>\n\
         <text transform=\"translate(20 {}) rotate(-90)\" text-anchor=\"middle\">own missed (FRR, \
         FNIR)</text>\n",
        (LEFT + right) / 2.0,
        height - 20.0,
        (TOP + bottom) / 2.0
    );
    for (at, (name, curve)) in curves.into_iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let points: Vec<String> = curve
            .iter()
            .map(|point| place(*point))
            .map(|[x, y]| format!("{x:.1},{y:.1}"))
            .collect();
        let y = TOP + 20.0 * (at as f64 + 1.0);
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
             <text x=\"{}\" y=\"{y}\" fill=\"{colour}\">{name}</text>\n",
            points.join(" "),
            right + 14.0
        );
    }
    svg + "</svg>\n"
}

/// Returns the place of a point. What is below the axes' beginning is drawn there.
fn place([x, y]: Point) -> Point {
    let along = |share: f64| 1.0 - (share.max(1e-12).log10() / f64::from(LEAST)).clamp(0.0, 1.0);
    let ([width, height], across, up) = (SIZE, along(x), along(y));
    [LEFT + across * (width - RIGHT - LEFT), height - BOTTOM - up * (height - BOTTOM - TOP)]
}

fn label(power: i32) -> String {
    format!("{} %", 10_f64.powi(power + 2))
}
