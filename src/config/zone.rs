//! The zone of a camera's picture where the next person stands.

use serde::{Deserialize, Deserializer, de::Error};

/// Maximum number of corners.
const CORNERS_MAX: usize = 16;
/// Minimum area, as a part of the picture. A smaller zone is a slip of the pen.
const AREA_MIN: f32 = 0.01;

/// A polygon, in parts of the picture's width and height. Without corners it is the whole picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Zone(Vec<(f32, f32)>);

impl Zone {
    /// Takes two opposite corners of a rectangle, or the corners of a polygon in their order.
    pub fn new(corners: Vec<(f32, f32)>) -> Result<Zone, String> {
        let within = |(x, y): &(f32, f32)| [x, y].iter().all(|v| (0.0..=1.0).contains(*v));
        if let Some((x, y)) = corners.iter().find(|corner| !within(corner)) {
            return Err(format!("[{x}, {y}] must be two parts of the picture, each from 0 to 1"));
        }
        let corners = match corners[..] {
            [(left, top), (right, bottom)] => {
                vec![(left, top), (right, top), (right, bottom), (left, bottom)]
            }
            _ if !(3..=CORNERS_MAX).contains(&corners.len()) => {
                return Err(format!(
                    "must be two opposite corners of a rectangle, or 3 to {CORNERS_MAX} corners"
                ));
            }
            _ => corners,
        };
        let zone = Zone(corners);
        if zone.area() < AREA_MIN {
            return Err(
                "is less than 1 % of the picture: list its corners one after the other, each \
                        as [part of the width, part of the height]"
                    .to_owned(),
            );
        }
        Ok(zone)
    }

    /// Returns the edges; none if the zone is the whole picture.
    pub fn edges(&self) -> impl Iterator<Item = [(f32, f32); 2]> {
        let next = self.0.iter().cycle().skip(1);
        self.0.iter().zip(next).map(|(from, to)| [*from, *to])
    }

    /// Returns whether the zone contains a place, given in parts of the width and the height. The
    /// place is inside if a line from it to the right crosses an odd number of edges.
    pub fn contains(&self, x: f32, y: f32) -> bool {
        let crossed = self.edges().filter(|[(x0, y0), (x1, y1)]| {
            (*y0 > y) != (*y1 > y) && x < x0 + (y - y0) / (y1 - y0) * (x1 - x0)
        });
        self.0.is_empty() || crossed.count() % 2 == 1
    }

    fn area(&self) -> f32 {
        let twice: f32 = self.edges().map(|[(x0, y0), (x1, y1)]| x0 * y1 - x1 * y0).sum();
        twice.abs() / 2.0
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Zone, D::Error> {
        Zone::new(Vec::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_zone_is_a_rectangle_or_a_polygon_and_a_slip_of_the_pen_is_refused() {
        let zone = Zone::new(vec![(0.25, 0.0), (0.75, 1.0)]).unwrap();
        assert!(zone.contains(0.5, 0.5) && !zone.contains(0.2, 0.5) && !zone.contains(0.8, 0.5));
        // An L: the corner at the top right is outside.
        let corners = [(0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0)];
        let zone = Zone::new(corners.to_vec()).unwrap();
        assert!(zone.contains(0.25, 0.25) && zone.contains(0.75, 0.75));
        assert!(!zone.contains(0.75, 0.25));
        assert!(Zone::default().contains(0.5, 0.5) && Zone::default().contains(7.0, -1.0));
        for (corners, problem) in [
            (vec![(0.1, 0.1)], "two opposite corners"),
            (vec![(0.5, 0.5); 17], "3 to 16 corners"),
            (vec![(0.0, 0.0), (100.0, 50.0)], "[100, 50] must be two parts"),
            (vec![(0.0, f32::NAN), (1.0, 1.0)], "each from 0 to 1"),
            (vec![(0.3, 0.0), (0.3, 1.0)], "less than 1 %"),
        ] {
            let refused = Zone::new(corners).unwrap_err();
            assert!(refused.contains(problem), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn a_rectangle_contains_what_is_between_its_corners(
            (a, b) in ((0.0_f32..0.4, 0.0_f32..0.4), (0.6_f32..1.0, 0.6_f32..1.0)),
            x in 0.0_f32..1.0, y in 0.0_f32..1.0, turned: bool,
        ) {
            let corners = if turned { vec![(b.0, a.1), (a.0, b.1)] } else { vec![a, b] };
            let zone = Zone::new(corners).unwrap();
            let between = (a.0..b.0).contains(&x) && (a.1..b.1).contains(&y);
            prop_assert_eq!(zone.contains(x, y), between);
        }
    }
}
