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
/// it, and with one space for each run of blanks. Refuses a character that has no place in one line
/// that people compare by eye. Every name and reason goes through here: from the command line,
/// imports, commands and the configuration.
pub fn one_line(text: &str) -> Result<String, String> {
    let text = composed(text);
    if let Some(c) = text.chars().find(|c| c.is_control() || is_unseen(*c) || is_line_end(*c)) {
        let code = u32::from(c);
        return Err(format!(
            "must be one line of visible characters, and holds U+{code:04X}: delete that character, \
             or type the text again"
        ));
    }
    if let Some(c) = text.chars().find(|c| is_private(*c)) {
        let code = u32::from(c);
        return Err(format!(
            "holds U+{code:04X}, a private-use character that only one system shows: look the \
             character up in the ID document, and type it with a current input method"
        ));
    }
    Ok(spaced(&text, |_, _| true))
}

/// Returns a text as [`one_line`] does, for comparisons: nothing is refused.
pub fn composed(text: &str) -> String {
    let text: String = text.trim_matches(is_blank).chars().map(published).collect();
    icu_normalizer::ComposingNormalizerBorrowed::new_nfc().normalize(&text).into_owned()
}

/// Returns a name without the blanks that pad it between Chinese characters: `王　伟`.
pub fn unpadded(name: &str) -> String {
    spaced(name, |before, after| !(is_han(before) && is_han(after)))
}

/// Returns a name for comparisons. Two names that people read as the same are equal: blanks between
/// Chinese characters, the form of the middle dot, the width, compatibility forms, upper and lower
/// case, and private-use characters with a published meaning do not count.
pub fn folded_name(name: &str) -> String {
    let composed = composed(name);
    let plain = icu_normalizer::ComposingNormalizerBorrowed::new_nfkc().normalize(&composed);
    let plain: String = plain.trim_matches(is_blank).chars().flat_map(char::to_lowercase).collect();
    let dotted = |c: char| is_han(c) || is_dot(c);
    let close = spaced(&plain, |before, after| !(dotted(before) && dotted(after)));
    let mut folded = String::with_capacity(close.len());
    let mut chars = close.chars().peekable();
    while let Some(c) = chars.next() {
        let full_stop =
            c == '.' && folded.ends_with(is_han) && chars.peek().copied().is_some_and(is_han);
        folded.push(if is_dot(c) || full_stop { '\u{b7}' } else { c });
    }
    folded
}

/// Returns a text with one space for each run of blanks between two characters, or none where
/// `keeps` says so.
fn spaced(text: &str, keeps: impl Fn(char, char) -> bool) -> String {
    let mut spaced = String::with_capacity(text.len());
    let mut blank = false;
    for c in text.chars() {
        if c.is_whitespace() && !c.is_control() {
            blank = true;
            continue;
        }
        if std::mem::take(&mut blank) && spaced.chars().next_back().is_some_and(|b| keeps(b, c)) {
            spaced.push(' ');
        }
        spaced.push(c);
    }
    spaced
}

/// The middle dots that people type in names of minorities and foreigners.
fn is_dot(c: char) -> bool {
    matches!(c, '\u{b7}' | '\u{2022}' | '\u{2027}' | '\u{2219}' | '\u{22c5}' | '\u{30fb}')
}

/// Returns whether a character is a Chinese one, also a rare or a compatible one.
fn is_han(c: char) -> bool {
    matches!(
        c,
        '\u{2e80}'..='\u{2fdf}' | '\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}'
    )
}

fn is_private(c: char) -> bool {
    matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
}

/// Returns the character that GB 18030 gives for a private-use character of GBK. GBK put the
/// characters of FE50 to FEA0, which Unicode did not have yet, at U+E815 to U+E864.
fn published(c: char) -> char {
    let Some(offset) = u32::from(c).checked_sub(0xe815).filter(|offset| *offset < 0x50) else {
        return match c {
            '\u{e7c7}' => '\u{1e3f}',
            '\u{e7c8}' => '\u{1f9}',
            other => other,
        };
    };
    // The codes have no 7F.
    let trail = 0x50 + offset + u32::from(offset >= 0x2f);
    let code = [0xfe, u8::try_from(trail).unwrap_or_default()];
    let decoded = encoding_rs::GB18030.decode_without_bom_handling(&code).0.chars().next();
    match decoded.filter(|c| !is_private(*c)) {
        Some(c) => c,
        // GB 18030 gives these by four bytes.
        None => match c {
            '\u{e816}' => '\u{20087}',
            '\u{e817}' => '\u{20089}',
            '\u{e818}' => '\u{200cc}',
            '\u{e831}' => '\u{215d7}',
            '\u{e83b}' => '\u{2298f}',
            '\u{e855}' => '\u{241fe}',
            other => other,
        },
    }
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

/// Returns a text with stars for numbers of 15 or more digits, as ID numbers have, except for their
/// last four characters.
pub fn without_numbers(text: &str) -> String {
    let is_part = |c: &char| c.is_ascii_digit() || matches!(c, 'x' | 'X');
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        let length = from.chars().take_while(is_part).count();
        let (number, after) = from.split_at(length);
        let hidden = if length < 15 { 0 } else { length - 4 };
        shown.push_str(before);
        shown.extend(std::iter::repeat_n('*', hidden));
        shown.push_str(&number[hidden..]);
        rest = after;
    }
    shown + rest
}

#[cfg(test)]
mod tests;
