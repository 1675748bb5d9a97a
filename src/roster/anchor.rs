//! The anchor of a worker: the templates of the first enrolment, with which new faces are compared.
//!
//! In: the anchor, new templates, the gate's threshold, and the authority behind the change. Out:
//! whether the faces are taken, wait for a person at the site, or are refused. Pure.
//!
//! The anchor stays when photos are replaced. Otherwise a chain of changes would lead from one
//! person to another: each photo resembles the photo before, and the last one not the first.

use crate::vision::Template;

/// The templates with which new faces of a worker are compared.
#[derive(Clone, Debug, PartialEq)]
pub enum Anchor {
    /// The worker never had a face. The new faces become the anchor.
    None,
    /// Templates of the first enrolment, by the embedder of the new ones.
    Templates(Vec<Template>),
    /// The worker had a face, and none is left to compare with: it was erased, is damaged, or is of
    /// another embedder.
    Gone,
}

/// The authority behind new faces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voucher {
    /// A person at the gateway, who may give a reason.
    Person { reason: bool },
    /// A platform whose messages are signed, and which the configuration trusts for faces.
    TrustedPlatform,
    /// Any other message from afar, also one that cannot be signed.
    Afar,
}

/// What becomes of new faces.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// They are taken at once. They reach the threshold, or are the worker's first ones.
    Alike,
    /// They are taken on a person's word, against the score of the least similar one; `None`: there
    /// was nothing to compare with.
    OnAPersonsWord(Option<f32>),
    /// They wait for a person at the site.
    Waits,
    /// They are refused: the score of the least similar one is below the threshold.
    Refused(f32),
}

impl Anchor {
    /// Returns what becomes of new faces of the worker. Faces below the threshold need a person
    /// with a reason, and are never taken on a message from afar. Faces without an anchor need a
    /// person.
    pub fn judge(&self, faces: &[Template], threshold: f32, by: Voucher) -> Verdict {
        let (anchor, new) = match self {
            Anchor::Templates(anchor) => (anchor.as_slice(), faces),
            Anchor::None => faces.split_at(faces.len().min(1)),
            Anchor::Gone => {
                return match by {
                    _ if faces.is_empty() => Verdict::Alike,
                    Voucher::Person { .. } => Verdict::OnAPersonsWord(None),
                    Voucher::TrustedPlatform | Voucher::Afar => Verdict::Waits,
                };
            }
        };
        let score = |face: &Template| {
            anchor.iter().map(|anchor| anchor.cosine(face)).reduce(f32::max).unwrap_or(-1.0)
        };
        match new.iter().map(score).reduce(f32::min).filter(|least| *least < threshold) {
            Some(least) => match by {
                Voucher::Person { reason: true } => Verdict::OnAPersonsWord(Some(least)),
                _ => Verdict::Refused(least),
            },
            None if by == Voucher::Afar && !faces.is_empty() => Verdict::Waits,
            None => Verdict::Alike,
        }
    }
}

#[cfg(test)]
mod tests;
