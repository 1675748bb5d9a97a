//! The two model files, which are pinned by their hashes.
//!
//! Thresholds and templates belong to one set of weights. With another file,
//! even a better one, old and new templates would have different scales. The
//! gate would decide wrongly, and the cause would be hard to find.

use std::io::ErrorKind;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::ModelError;

/// YuNet 2023mar from the OpenCV Zoo (MIT), weights block-quantised to int8.
pub(super) const DETECTOR_SHA256: &str =
    "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10";

/// SFace 2021dec from the OpenCV Zoo (Apache-2.0), likewise.
pub(super) const EMBEDDER_SHA256: &str =
    "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee";

/// The name under which templates are stored. Templates of different embedders
/// are never compared.
pub const EMBEDDER_NAME: &str = "sface_2021dec";

/// Reads a model file, and checks its hash.
pub(super) fn read(path: &Path, expected: &str) -> Result<Vec<u8>, ModelError> {
    let bytes = std::fs::read(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => ModelError::Missing { path: path.to_owned() },
        _ => ModelError::Unreadable { path: path.to_owned(), source },
    })?;
    let found = hex::encode(Sha256::digest(&bytes));
    if found != expected {
        return Err(ModelError::Altered {
            path: path.to_owned(),
            expected: expected.to_owned(),
            found,
        });
    }
    Ok(bytes)
}
