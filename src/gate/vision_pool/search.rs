//! Searches a frame for faces: the whole frame, or only the surroundings of the face that is followed.
//!
//! A decision needs two looks at one person. The second look searches only around the face of the
//! first one, at a third of the cost. If the face is not there, the whole frame is searched. So is each
//! frame while two faces are in view, and at least every other frame, so that a second person is seen.

use std::time::Duration;

use super::{GATE_LONGEST_SIDE, Lost, Watch};
use crate::{
    clock::{Clock, Monotonic},
    timing::Histogram,
    vision::{Face, Reduced, View, Vision},
};

/// Side in pixels of the searched square around a face. The face is some 50 pixels wide there.
pub(super) const SIDE: u32 = 160;

/// Maximum time from the search of a whole frame in which the face is still within that square: it is
/// three faces wide, and a person at 1.5 m/s moves by ten a second.
const WITHIN: Duration = Duration::from_millis(500);

/// Searches a frame. Returns the picture that was searched, and the faces in pixels of the frame.
/// `near`: width of the face whose surroundings are enough, if it was the only one. `decode` and
/// `detect` count the time.
pub(super) fn search<'v>(
    (vision, clock): (&Vision, &dyn Clock),
    [decode, detect]: [&Histogram; 2],
    watch: &mut Watch,
    (at, near): (Monotonic, Option<f32>),
    view: &'v View<'_>,
) -> Result<(Reduced<'v>, Vec<Face>), Lost> {
    let faces = |picture: &Reduced<'_>, side: u32| -> Result<Vec<Face>, Lost> {
        let faces = detect.time(clock, || vision.detect(picture.image(), side))?;
        Ok(faces.into_iter().map(|face| picture.in_frame(face)).collect())
    };
    let alone = watch.alone.take().filter(|(seen, _)| at.since(*seen) <= WITHIN);
    if let Some((_, face)) = alone.filter(|(_, face)| near == Some(face.bbox.w))
        && let Some(around) = decode.time(clock, || view.around(&face))?
    {
        let found = faces(&around, SIDE)?;
        if !found.is_empty() {
            return Ok((around, found));
        }
    }
    let whole = decode.time(clock, || view.for_detection(GATE_LONGEST_SIDE))?;
    let found = faces(&whole, GATE_LONGEST_SIDE)?;
    if let [face] = &*found {
        watch.alone = Some((at, face.clone()));
    }
    Ok((whole, found))
}
