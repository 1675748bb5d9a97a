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

/// One face found. Box and landmarks are in pixels of the picture given, and
/// finite; at the edge they may reach beyond the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Face {
    /// How sure the detector is, from its threshold to 1.
    pub score: f32,
    pub bbox: Rect,
    pub landmarks: Landmarks,
}
