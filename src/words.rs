//! Enums whose variants are words: of entries, of the configuration, of the command line.
//!
//! In: the declaration of an enum, each variant with its word. Out: the enum, which reads and writes
//! itself as that word; what is typed in its place is refused with the words that there are. Touches
//! nothing.

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
            /// In the order of their declaration.
            pub const ALL: [$name; [$($word),+].len()] = [$($name::$variant),+];

            /// Returns its word.
            pub const fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }

            /// Returns the one with this word.
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

/// What a word must be.
pub(crate) fn one_of(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => {
            format!("must be {} or {last}", first.join(", "))
        }
        words => format!("must be {}", words.concat()),
    }
}

/// Reads a day as people give it.
pub(crate) fn day(text: &str) -> Result<jiff::civil::Date, String> {
    text.parse().map_err(|_| "must be a day such as 2026-10-01".to_owned())
}
