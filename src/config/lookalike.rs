//! Characters that look like ASCII characters. A Chinese input method types them while it is on,
//! and word processors insert them.

/// The intended character, and the name of the found one.
pub(super) struct Lookalike {
    pub(super) meant: Meant,
    name: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Meant {
    Type(char),
    /// The character is invisible.
    Delete,
}

impl Lookalike {
    pub(super) fn of(c: char) -> Option<Lookalike> {
        let found = |name, meant| Some(Lookalike { meant: Meant::Type(meant), name });
        match c {
            '“' | '”' | '„' | '‟' | '″' | '〝' | '〞' | '«' | '»' => {
                found("a curly quote", '"')
            }
            '「' | '」' | '『' | '』' => found("a corner quote", '"'),
            '‘' | '’' | '‚' | '‛' | '′' => found("a curly quote", '\''),
            '、' => found("a Chinese comma", ','),
            '。' | '．' => found("a full-width full stop", '.'),
            '【' | '〔' => found("a full-width bracket", '['),
            '】' | '〕' => found("a full-width bracket", ']'),
            '–' | '—' | '‐' | '‑' | '−' => found("a long dash", '-'),
            '×' => found("a multiplication sign", 'x'),
            '\u{3000}' => found("a full-width space", ' '),
            '\u{A0}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' => {
                found("a special space", ' ')
            }
            // U+FF01 to U+FF5E are U+0021 to U+007E in full width.
            '\u{FF01}'..='\u{FF5E}' => {
                let meant = u32::from(c).checked_sub(0xFEE0).and_then(char::from_u32)?;
                let name = match meant {
                    ',' => "a full-width comma",
                    ':' => "a full-width colon",
                    '=' => "a full-width equals sign",
                    '"' | '\'' => "a full-width quote",
                    '[' | ']' | '{' | '}' | '(' | ')' => "a full-width bracket",
                    '0'..='9' => "a full-width digit",
                    'a'..='z' | 'A'..='Z' => "a full-width letter",
                    _ => "a full-width character",
                };
                found(name, meant)
            }
            '\u{AD}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'
            | '\u{FEFF}' => {
                Some(Lookalike { meant: Meant::Delete, name: "an invisible character" })
            }
            c if c.is_control() => {
                Some(Lookalike { meant: Meant::Delete, name: "a control character" })
            }
            _ => None,
        }
    }

    /// Returns the name of this character, and what to do about it.
    pub(super) fn words(&self, c: char, meant: Meant) -> String {
        let code = format!("U+{:04X}", u32::from(c));
        let shown = match self.meant {
            Meant::Type(' ') | Meant::Delete => code,
            Meant::Type(_) => format!("{c} ({code})"),
        };
        let remedy = match meant {
            Meant::Type(' ') => "type an ordinary space instead".to_owned(),
            Meant::Type(meant) => format!("type {meant} instead"),
            Meant::Delete => "delete it".to_owned(),
        };
        format!("{shown} is {}: {remedy}", self.name)
    }
}

/// Returns the words for the first such character of a value, if any.
pub(super) fn in_value(text: &str) -> Option<String> {
    text.chars().find_map(|c| Lookalike::of(c).map(|found| found.words(c, found.meant)))
}
