//! Enums that are words to people, files and platforms alike: each word is spelled once.
//!
//! In: an enum's declaration, with each variant's word. Out: the enum, the word both ways, and all of
//! them in order. Touches nothing.

/// Declares an enum of words. Serde writes the same words; an unknown one is refused with those that
/// there are.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$of:meta])* $variant:ident $word:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$of])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            pub const ALL: [$name; [$($word),+].len()] = [$($name::$variant),+];

            pub fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> std::result::Result<$name, String> {
                let found = $name::ALL.into_iter().find(|one| one.word() == text);
                found.ok_or_else(|| crate::words::one_of(&[$($word),+]))
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
