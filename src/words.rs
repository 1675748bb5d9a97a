//! Enums whose variants are words in entries, in the configuration and on the command line; words
//! for numbers and lists; the one form of a typed text.
//!
//! In: the declaration of an enum, each variant with its word. Out: the enum, with parsing and
//! printing as that word. An unknown word is refused with the list of valid words. Touches nothing.

/// Declares an enum of words.
macro_rules! words {
    (
        $(#[$of_enum:meta])*
        $vis:vis enum $name:ident {
            $($(#[$of_variant:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$of_enum])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        $vis enum $name {
            $($(#[$of_variant])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// All variants, in the order of their declaration.
            pub const ALL: [$name; [$($word),+].len()] = [$($name::$variant),+];

            /// Returns its word.
            pub const fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }

            /// Returns the variant with this word.
            pub fn from_word(word: &str) -> Option<$name> {
                $name::ALL.into_iter().find(|known| known.word() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(word: &str) -> std::result::Result<$name, String> {
                $name::from_word(word).ok_or_else(|| crate::words::one_of(&[$($word),+]))
            }
        }
    };
}

pub(crate) use words;

/// Returns the error message that lists the valid words.
pub(crate) fn one_of(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => {
            format!("must be {} or {last}", first.join(", "))
        }
        words => format!("must be {}", words.concat()),
    }
}

/// Parses a calendar day from the command line or the configuration.
pub(crate) fn day(text: &str) -> Result<jiff::civil::Date, String> {
    text.parse().map_err(|_| "must be a day such as 2026-10-01".to_owned())
}

/// Returns a count with its noun: `1 worker`, `2 workers`, `3 entries`. `one` is the singular.
pub fn counted<N: std::fmt::Display + PartialEq + From<u8>>(count: N, one: &str) -> String {
    if count == N::from(1) {
        return format!("{count} {one}");
    }
    match one.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{count} {stem}ies"),
        _ => format!("{count} {one}s"),
    }
}

/// Returns a typed text in its one form: Unicode's NFC, without the blanks and unseen marks around
/// it. Refuses a character that has no place in one line that people compare by eye. Every name and
/// reason goes through here: from the command line, imports, commands and the configuration.
pub fn one_line(text: &str) -> Result<String, String> {
    let text = composed(text);
    if let Some(c) = text.chars().find(|c| c.is_control() || is_unseen(*c) || is_line_end(*c)) {
        let code = u32::from(c);
        return Err(format!(
            "must be one line of visible characters, and holds U+{code:04X}: delete that character, \
             or type the text again"
        ));
    }
    Ok(text)
}

/// Returns a text as [`one_line`] does, for comparisons: nothing is refused.
pub fn composed(text: &str) -> String {
    let text = text.trim_matches(is_blank);
    icu_normalizer::ComposingNormalizerBorrowed::new_nfc().normalize(text).into_owned()
}

/// Returns whether a character is a blank of any width, or is not seen.
pub fn is_blank(c: char) -> bool {
    c.is_whitespace() || is_unseen(c)
}

/// The line and paragraph separators are no control characters, and no blanks within a line.
fn is_line_end(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Returns whether a character is not seen: marks without width, marks that change the direction of
/// the text after them, fillers and tags. Two names that differ only in these look alike. The
/// selectors of a Chinese character's variant are no such marks.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests;
