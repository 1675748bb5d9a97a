//! Single values of the file: their bounds and forms, checked where serde reads them.
//!
//! An error says what is wrong with the value. The file, the line and the key are added by
//! [`super::file`].

use std::{fmt::Display, ops::RangeInclusive, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error},
};

use super::{address::quoted, lookalike};
pub(super) use crate::turnstile::settings::{Checked, Wrong, wrong};

/// Checks a number with decimals.
pub(super) fn within(key: &str, value: f32, bounds: RangeInclusive<f32>) -> Checked<()> {
    if bounds.contains(&value) {
        return Ok(());
    }
    wrong(key, out_of(value, bounds.start(), bounds.end()))
}

fn out_of(value: impl Display, least: impl Display, most: impl Display) -> String {
    format!("{value} must be from {least} to {most}")
}

/// Reads a whole number. It is read as TOML has it, so that one that its type cannot hold is refused
/// with the bounds too.
pub(super) fn whole<'de, D, T, const LEAST: i64, const MOST: i64>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64>,
{
    let value = i64::deserialize(from)?;
    match T::try_from(value) {
        Ok(number) if (LEAST..=MOST).contains(&value) => Ok(number),
        _ => Err(D::Error::custom(out_of(value, LEAST, MOST))),
    }
}

/// Reads seconds, from 0.1 to `MOST`.
pub(super) fn seconds<'de, D, const MOST: u64>(from: D) -> Result<Duration, D::Error>
where
    D: Deserializer<'de>,
{
    let value = f64::deserialize(from)?;
    if !(0.1..=MOST as f64).contains(&value) {
        return Err(D::Error::custom(out_of(value, 0.1, MOST) + " seconds"));
    }
    Ok(Duration::from_secs_f64(value))
}

/// Reads text of a form; `lacks` says what it is not, and gives an example.
pub(super) fn formed<'de, D, T>(
    from: D,
    parse: impl FnOnce(&str) -> Option<T>,
    lacks: &str,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
{
    let text = String::deserialize(from)?;
    let refused = || D::Error::custom(format!("{} is {lacks}{}", quoted(&text), hint(&text)));
    parse(&text).ok_or_else(refused)
}

/// Reads the name of a project, a gateway, a lane, an upstream or a client. All become part of a
/// topic, a file name or a metric.
pub(super) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let plain = |text: &str| (1..=64).contains(&text.len()) && text.chars().all(allowed);
    formed(
        from,
        |text| plain(text).then(|| text.to_owned()),
        "no name: a name is 1 to 64 characters of A-Z, a-z, 0-9, - and _, because it becomes part of \
         topics",
    )
}

pub(super) fn some_name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    name(from).map(Some)
}

/// Reads the name of a group of the operating system, which must be there.
pub(super) fn group<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(from)?;
    match nix::unistd::Group::from_name(&name) {
        Ok(Some(_)) => Ok(Some(name)),
        _ => {
            let (shown, hint) = (quoted(&name), hint(&name));
            Err(D::Error::custom(format!("there is no group {shown} on this machine{hint}")))
        }
    }
}

/// What a value has instead of what it must have, where that can be seen from it.
pub(super) fn hint(text: &str) -> String {
    lookalike::in_value(text).map_or_else(String::new, |words| format!(" ({words})"))
}

/// The keys of a table, which serde lists where it refuses another.
pub(crate) fn keys<T: DeserializeOwned>() -> Vec<String> {
    toml::from_str::<T>("\"?\" = 0").err().map(|e| listed(e.message())).unwrap_or_default()
}

/// What serde expected instead of what it found.
pub(super) fn listed(message: &str) -> Vec<String> {
    let (_, known) = message.split_once(", expected ").unwrap_or_default();
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
