//! A simulated reader of resident identity cards: the side of the SAM.

use super::{DONE, FOUND, IdCard, NONE, Request, TEXT, frame, take_frame};

/// A reader, and the card on it.
#[derive(Default)]
pub struct Device {
    held: Vec<u8>,
    /// The card that lies on the reader.
    card: Option<IdCard>,
    /// The card was read, and was not lifted since.
    read: bool,
}

impl Device {
    /// Lays a card on the reader, or lifts it.
    pub fn lay(&mut self, card: Option<IdCard>) {
        (self.card, self.read) = (card, false);
    }

    /// Takes bytes from the host, and returns the answers.
    pub fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut answers = Vec::new();
        while let Some(taken) = take_frame(&mut self.held) {
            if let Ok(request) = taken {
                answers.extend(self.answer(&request));
            }
        }
        answers
    }

    fn answer(&mut self, request: &[u8]) -> Vec<u8> {
        let is = |known: Request| request == known.code();
        let card = self.card.as_ref().filter(|_| !self.read);
        match card {
            Some(_) if is(Request::Find) => frame(&[0, 0, FOUND, 0, 0, 0, 0]),
            Some(_) if is(Request::Select) => frame(&[&[0, 0, DONE][..], &[0; 8]].concat()),
            Some(card) if is(Request::Read) => {
                let (text, photo) = (text(card), vec![0x57; 1024]);
                self.read = true;
                let lengths = [0x01, 0x00, 0x04, 0x00];
                frame(&[&[0, 0, DONE][..], &lengths, &text, &photo].concat())
            }
            _ if is(Request::Find) => frame(&[0, 0, NONE]),
            _ => frame(&[0, 0, 0x81]),
        }
    }
}

/// Returns the text of a card, padded with blanks.
fn text(card: &IdCard) -> Vec<u8> {
    let mut text: Vec<u8> =
        " ".repeat(TEXT / 2).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let fields = [
        (0, &card.name),
        (30, &card.sex),
        (36, &card.birth),
        (122, &card.number),
        (204, &card.until),
    ];
    for (from, field) in fields {
        for (at, byte) in (from..).zip(field.encode_utf16().flat_map(u16::to_le_bytes)) {
            if let Some(place) = text.get_mut(at) {
                *place = byte;
            }
        }
    }
    text
}
