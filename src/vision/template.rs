//! A template: the vector that stands for a face.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// Number of values in a template.
pub const TEMPLATE_LEN: usize = 128;
/// Number of bytes of a stored template.
pub const TEMPLATE_BYTES: usize = TEMPLATE_LEN * 4;

/// Maximum difference of a template's length to 1, which rounding in other
/// formats may cause.
const NORM_TOLERANCE: f32 = 1e-3;

/// A face as a point on the unit sphere of 128 dimensions. Faces of one person
/// lie close together. A template is biometric data: it never leaves the
/// gateway, is stored only sealed, is wiped from memory when dropped, and is
/// never printed. It is boxed, so that moving it leaves no copy in memory.
#[derive(Clone, PartialEq)]
pub struct Template(Box<[f32; TEMPLATE_LEN]>);

/// The reason why numbers are not a template.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum TemplateError {
    #[error("a template must have {TEMPLATE_LEN} numbers, and this one has {found}")]
    Length { found: usize },
    #[error("a template's numbers must be finite, and these are not")]
    NotFinite,
    #[error("a template's length must be 1, and this one's is {norm}")]
    NotUnit { norm: f32 },
}

impl Template {
    /// Makes a template of a vector of length 1.
    pub fn from_slice(values: &[f32]) -> Result<Template, TemplateError> {
        let template = Template::copied(values)?;
        let norm = norm(template.as_slice());
        if (norm - 1.0).abs() > NORM_TOLERANCE {
            return Err(TemplateError::NotUnit { norm });
        }
        Ok(template)
    }

    /// Scales a vector to length 1, as the embedder's raw output needs it.
    pub(super) fn normalised(values: &[f32]) -> Result<Template, TemplateError> {
        let mut template = Template::copied(values)?;
        let norm = norm(template.as_slice());
        if norm < f32::MIN_POSITIVE || !norm.is_finite() {
            return Err(TemplateError::NotUnit { norm });
        }
        for value in template.0.iter_mut() {
            *value /= norm;
        }
        Ok(template)
    }

    /// Returns the direction of the sum of templates; `None` without templates, or where they cancel
    /// each other out.
    pub fn mean<'t>(templates: impl IntoIterator<Item = &'t Template>) -> Option<Template> {
        let mut sum = Zeroizing::new([0.0; TEMPLATE_LEN]);
        for template in templates {
            sum.iter_mut().zip(template.0.iter()).for_each(|(sum, value)| *sum += value);
        }
        Template::normalised(&sum[..]).ok()
    }

    fn copied(values: &[f32]) -> Result<Template, TemplateError> {
        if values.len() != TEMPLATE_LEN {
            return Err(TemplateError::Length { found: values.len() });
        }
        let mut template = Template(Box::new([0.0; TEMPLATE_LEN]));
        template.0.copy_from_slice(values);
        if template.0.iter().any(|value| !value.is_finite()) {
            return Err(TemplateError::NotFinite);
        }
        Ok(template)
    }

    /// Returns the likeness of two faces, -1 to 1. Faces of one person have some 0.45 and above.
    pub fn cosine(&self, other: &Template) -> f32 {
        self.0.iter().zip(other.0.iter()).map(|(a, b)| a * b).sum()
    }

    pub fn as_slice(&self) -> &[f32] {
        &*self.0
    }

    /// Returns the bytes for the sealed store: f32, little-endian.
    pub fn to_bytes(&self) -> Zeroizing<[u8; TEMPLATE_BYTES]> {
        let mut bytes = Zeroizing::new([0; TEMPLATE_BYTES]);
        for (place, value) in bytes.as_chunks_mut().0.iter_mut().zip(self.0.iter()) {
            *place = value.to_le_bytes();
        }
        bytes
    }

    /// Reads the bytes of [`Template::to_bytes`], and checks them as
    /// [`Template::from_slice`] does.
    pub fn from_bytes(bytes: &[u8]) -> Result<Template, TemplateError> {
        let (chunks, rest) = bytes.as_chunks();
        if chunks.len() != TEMPLATE_LEN || !rest.is_empty() {
            return Err(TemplateError::Length { found: bytes.len() / 4 });
        }
        let values: Zeroizing<Vec<f32>> =
            Zeroizing::new(chunks.iter().map(|v| f32::from_le_bytes(*v)).collect());
        Template::from_slice(&values)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template(..)")
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

fn norm(values: &[f32]) -> f32 {
    values.iter().map(|value| value * value).sum::<f32>().sqrt()
}

#[cfg(test)]
mod tests;
