//! The list of a project's workers (command 849): the parts of the answer, and its entries. Pure.
//!
//! | bytes | what |
//! |---|---|
//! | 4, 100 | the project's code and name; in the first part only |
//! | 4 | the worker's number at the platform |
//! | 10, or 50 in version 5 | the name, padded with zeros; a longer name is cut |
//! | 18 | the ID number, ASCII |
//! | 9 | size of a photo, and five bytes of unknown meaning |

use encoding_rs::{Encoding, GBK, UTF_8};
use serde::{Deserialize, Serialize};

use super::frame::{Bcc, CONTENT_MAX, Frame};
use crate::{
    roster::{IdType, Identity, Particulars},
    words::words,
};

/// Number of bytes before the first entry.
const PROJECT: usize = 104;
/// Number of bytes of an ID number, and of what follows it in an entry.
const ID_NUMBER: usize = 18;
const REST: usize = 9;

words! {
    /// The encoding of names.
    #[derive(Default)]
    pub enum Names {
        #[default]
        Utf8 = "utf-8",
        Gbk = "gbk",
    }
}

/// A worker on the platform's list.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// The worker's number at the platform.
    pub code: u32,
    /// The name. One that fills its field may be cut, and ends with `…` then.
    pub name: String,
    /// The number of the resident identity card.
    pub id_number: String,
}

impl std::fmt::Debug for Listed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Listed({})", self.code)
    }
}

/// How a platform writes its list.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    pub bcc: Bcc,
    pub names: Names,
    /// Number of bytes of a name.
    pub name: usize,
}

/// Why an answer is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoList {
    #[error("its list of workers has a wrong check byte")]
    Bcc,
    #[error("its list of workers has part {part} of {parts} where part {expected} was to come")]
    Part { part: u32, parts: u32, expected: u32 },
    #[error("its list of workers has more than {CONTENT_MAX} bytes")]
    Long,
}

/// The parts of a list that have come.
#[derive(Debug, Default)]
pub struct Parts {
    bytes: Vec<u8>,
    count: u32,
    /// The number of the first part: 0 or 1.
    first: u32,
}

impl Parts {
    /// Takes in a part. Returns the whole list after the last one, without its check bytes.
    pub fn add(&mut self, bcc: Bcc, frame: &Frame) -> Result<Option<Vec<u8>>, NoList> {
        let content = match frame.content.is_empty() {
            true => &[],
            false => bcc.opened(&frame.content).ok_or(NoList::Bcc)?,
        };
        let Frame { part, parts, .. } = *frame;
        if self.count == 0 {
            self.first = part.min(1);
        }
        let expected = self.first + self.count;
        if part != expected {
            return Err(NoList::Part { part, parts, expected });
        }
        if self.bytes.len() + content.len() > CONTENT_MAX {
            return Err(NoList::Long);
        }
        self.bytes.extend_from_slice(content);
        self.count += 1;
        Ok((self.count >= parts).then(|| std::mem::take(self).bytes))
    }
}

/// Returns the workers of a list, and the number of entries that are illegible and passed over: a
/// number of 0, an ID number that none can be, a name of no letters, an entry that is cut.
pub fn workers(list: &[u8], form: Form) -> (Vec<Listed>, u64) {
    let size = 4 + form.name + ID_NUMBER + REST;
    let (mut workers, mut unreadable) = (Vec::new(), 0);
    for entry in list.get(PROJECT..).unwrap_or_default().chunks(size) {
        match worker(entry, form) {
            Some(worker) => workers.push(worker),
            None => unreadable += 1,
        }
    }
    (workers, unreadable)
}

fn worker(entry: &[u8], form: Form) -> Option<Listed> {
    let code = super::frame::number(entry, 0).filter(|code| *code > 0)?;
    let name = name(entry.get(4..4 + form.name)?, form.names)?;
    let number = entry.get(4 + form.name..4 + form.name + ID_NUMBER)?;
    let number = std::str::from_utf8(unpadded(number)).ok()?;
    let identity = Identity::checked(IdType::Resident, number, Particulars::default(), None);
    Some(Listed { code, name, id_number: identity.ok()?.number.to_string() })
}

fn unpadded(field: &[u8]) -> &[u8] {
    let padding = |byte: &u8| matches!(byte, 0 | b' ');
    field
        .get(..field.len() - field.iter().rev().take_while(|byte| padding(byte)).count())
        .unwrap_or_default()
}

/// Returns a name. The last letter of a name that was cut may be cut itself, and is left out.
fn name(field: &[u8], names: Names) -> Option<String> {
    let encoding: &Encoding = match names {
        Names::Utf8 => UTF_8,
        Names::Gbk => GBK,
    };
    let text = unpadded(field);
    let cut = text.len() == field.len();
    let (read, _) = encoding.decode_without_bom_handling(text);
    let whole = read.trim_end_matches('\u{fffd}');
    let visible = |c: char| !c.is_control() && c != '\u{fffd}';
    if whole.trim().is_empty() || !whole.chars().all(visible) || whole.len() < read.len() && !cut {
        return None;
    }
    Some(if cut { format!("{}…", whole.trim()) } else { whole.trim().to_owned() })
}

#[cfg(test)]
mod tests;
