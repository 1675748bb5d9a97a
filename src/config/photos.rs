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

impl Photos {
    /// Returns whether any photos are sent.
    pub fn are_sent(self) -> bool {
        self != Photos::Off
    }

    /// Returns whether scenes are to be made.
    pub fn are_scenes(self, crop: PhotoCrop) -> bool {
        self.are_sent() && crop == PhotoCrop::Scene
    }
}

/// Default of `photo_kb`.
const KB: u16 = 60;
/// Default of `photo_kb_per_minute`.
const KB_PER_MINUTE: u16 = 1024;

pub(super) fn kb() -> u16 {
    KB
}

pub(super) fn kb_per_minute() -> u16 {
    KB_PER_MINUTE
}
