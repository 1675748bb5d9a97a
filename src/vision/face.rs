//! A face in a picture: its box and its landmarks.

/// Five points, (x, y) each: the eye at the image's left, the eye at its
/// right, the tip of the nose, the corners of the mouth at left and right.
pub type Landmarks = [[f32; 2]; 5];

/// An upright rectangle; (x, y) is its corner at the top left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    pub x: f32,
    pub y: f32,
    pub w: f32,
    pub h: f32,
}

impl Rect {
    /// Returns the corner and the size of the area around it, `times` as wide and high, cut to a
    /// picture of this width and height.
    pub(super) fn around(&self, times: f32, (width, height): (u32, u32)) -> [(u32, u32); 2] {
        let span = |at: f32, size: f32, limit: u32| {
            // `as` saturates, so that the corner stays within the picture.
            let from = (at - size * (times - 1.0) / 2.0).max(0.0) as u32;
            let from = from.min(limit.saturating_sub(1));
            (from, ((size * times) as u32).clamp(1, limit - from))
        };
        let ((x, w), (y, h)) = (span(self.x, self.w, width), span(self.y, self.h, height));
        [(x, y), (w, h)]
    }

    /// Returns the corner and the side of the square around it, `times` as large as the longer side
    /// and shifted into a picture of this width and height.
    pub(super) fn square(&self, times: f32, (width, height): (u32, u32)) -> ((u32, u32), u32) {
        let side = ((self.w.max(self.h) * times) as u32).clamp(1, width.min(height).max(1));
        let from = |middle: f32, limit: u32| {
            // `as` saturates.
            ((middle - side as f32 / 2.0).max(0.0) as u32).min(limit.saturating_sub(side))
        };
        ((from(self.x + self.w / 2.0, width), from(self.y + self.h / 2.0, height)), side)
    }
}

/// A face that was found. Box and landmarks are finite, in pixels of the
/// searched picture. At the edge they may extend beyond the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Face {
    /// The detector's score, from its threshold to 1.
    pub score: f32,
    pub bbox: Rect,
    pub landmarks: Landmarks,
}
