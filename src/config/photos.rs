//! Photos of passages for a platform.

use crate::words::words;

words! {
    /// The photos that go to a platform.
    #[derive(Default)]
    pub enum Photos {
        #[default]
        Off = "off",
        /// The photo of each record of a worker.
        Record = "record",
    }
}

words! {
    /// The part of a frame that a photo shows.
    #[derive(Default)]
    pub enum PhotoCrop {
        /// The face and the background, with every other face blurred.
        #[default]
        Scene = "scene",
        /// The face alone.
        Face = "face",
    }
}

/// Returns the default of `photo_kb`.
pub(super) fn kb() -> u16 {
    60
}

/// Returns the default of `photo_kb_per_minute`.
pub(super) fn kb_per_minute() -> u16 {
    1024
}
