//! Single values of the file: their bounds and forms, checked where serde reads them.
//!
//! An error says what is wrong with the value. The file, the line and the key are added by
//! [`super::file`].

use std::time::Duration;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error},
};

use super::{address::quoted, lookalike};
pub(super) use crate::turnstile::settings::{Checked, Wrong, whole, within, wrong};
use crate::words;

/// Reads a number with decimals. The bounds are in hundredths.
pub(super) fn decimal<'de, D, const LEAST: u32, const MOST: u32>(from: D) -> Result<f32, D::Error>
where
    D: Deserializer<'de>,
{
    let bounds = LEAST as f32 / 100.0..=MOST as f32 / 100.0;
    within(f32::deserialize(from)?, bounds).map_err(D::Error::custom)
}

/// Reads seconds, from 0.1 to `MOST`.
pub(super) fn seconds<'de, D, const MOST: u64>(from: D) -> Result<Duration, D::Error>
where
    D: Deserializer<'de>,
{
    let seconds = within(f64::deserialize(from)?, 0.1..=MOST as f64);
    let seconds = seconds.map_err(|refused| D::Error::custom(refused + " seconds"))?;
    Ok(Duration::from_secs_f64(seconds))
}

/// Reads text with `parse`. `lacks` completes the message "VALUE is …" and gives an example.
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

/// Maximum size of a text of MQTT, in bytes (MQTT 5, 1.5.4).
const MQTT_TEXT_BYTES: usize = 65_535;

/// Reads a client id or a user that the operator of a broker prescribes. Everything that MQTT can
/// carry is taken.
pub(super) fn mqtt_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    // An address with a login in it was meant for another key, and must not be shown.
    let address = |text: &str| text.contains("://") && text.contains('@');
    let carried = |text: &str| {
        (1..=MQTT_TEXT_BYTES).contains(&text.len()) && !text.contains('\0') && !address(text)
    };
    formed(
        from,
        |text| carried(text).then(|| Some(text.to_owned())),
        "not a text that MQTT can carry: 1 to 65535 bytes of UTF-8 without U+0000, and no \
         address with a login. Write it as the \
         broker's operator gave it, or leave the key out",
    )
}

/// Reads the name of a project, a gateway, a lane or an upstream. All become part of a topic, a
/// file name or a metric.
pub(super) fn name<'de, D, N>(from: D) -> Result<N, D::Error>
where
    D: Deserializer<'de>,
    N: From<String>,
{
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let plain = |text: &str| (1..=64).contains(&text.len()) && text.chars().all(allowed);
    formed(
        from,
        |text| plain(text).then(|| text.to_owned().into()),
        "not a name: a name is 1 to 64 characters of A-Z, a-z, 0-9, - and _, because it becomes part of \
         topics",
    )
}

/// Reads a text for people: one line of visible characters.
pub(super) fn line<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    words::one_line(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// Reads the name of a group, which must exist in the operating system.
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

/// Returns a hint about the first character of a value that looks like ASCII, or an empty text.
pub(super) fn hint(text: &str) -> String {
    lookalike::in_value(text).map_or_else(String::new, |words| format!(" ({words})"))
}

/// Returns the keys of a table. Serde lists them when it refuses an unknown key.
pub(crate) fn keys<T: DeserializeOwned>() -> Vec<String> {
    toml::from_str::<T>("\"?\" = 0").err().map(|e| listed(e.message())).unwrap_or_default()
}

/// Returns the names that serde expected, from its message.
pub(super) fn listed(message: &str) -> Vec<String> {
    let (_, known) = message.split_once(", expected ").unwrap_or_default();
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Minimum likeness of a misspelt key to the right one; 1 is the same key.
pub(super) const ALIKE: f64 = 0.6;

/// Returns how alike two keys are; 1 is the same key.
pub(super) fn likeness(a: &str, b: &str) -> f64 {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    strsim::normalized_damerau_levenshtein(&plain(a), &plain(b))
}
