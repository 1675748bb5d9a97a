//! What a line of text means: the number of a card, or a code in QR. Shared by the drivers whose
//! readers send text.

use super::{CardFormat, CardNumber, Code, Heard, code};

/// What a reader of lines may give.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    pub(super) format: CardFormat,
    /// A number may come, of a card or in QR.
    pub(super) number: bool,
    /// A number comes from a QR code.
    pub(super) in_qr: bool,
}

impl Text {
    /// Returns what a line means. The text is not empty.
    pub(super) fn means(self, text: &str) -> Heard {
        if let Some(code) = Code::read(text) {
            return Heard::Code(Box::new(code));
        }
        let count = text.chars().count();
        let starts = text.get(..code::PREFIX.len());
        if starts.is_some_and(|start| start.eq_ignore_ascii_case(code::PREFIX)) {
            let what = format!(
                "a code of {count} characters that is damaged: hold it still, and see whether the \
                 reader passes on the whole line"
            );
            return Heard::Unreadable(what);
        }
        if !self.number {
            let what =
                format!("a line of {count} characters that is no code of a gateway: see accept");
            return Heard::Unreadable(what);
        }
        match CardNumber::parse(text, self.format) {
            Ok(number) if self.in_qr => Heard::QrNumber(number),
            Ok(number) => Heard::Card(number),
            Err(problem) => Heard::Unreadable(format!(
                "a line of {count} characters {problem}: see card_format"
            )),
        }
    }
}
