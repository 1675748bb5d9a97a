//! Enums whose variants are words in entries, in the configuration and on the command line; words
//! for numbers and lists.
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

#[cfg(test)]
mod tests;
