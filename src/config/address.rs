//! Addresses, which may hold a login. No address is shown before its parts can be told apart.

use std::collections::BTreeSet;

use super::lookalike::Lookalike;

/// Returns why an address is ambiguous, if it is. The message repeats only the single characters
/// that the address must not contain.
///
/// An authority ends at the first `/`, `?` or `#` (RFC 3986, 3.2). In
/// `rtsp://admin:p@ss/word@10.0.0.9` the host would be `ss`. The rest of the password would be a
/// path, which is shown. The parser also removes tabs, line breaks and outer spaces. In `http:` it
/// reads a `\` as a `/` (WHATWG URL, 4.4).
pub(super) fn unclear(text: &str) -> Option<String> {
    for c in text.chars() {
        if matches!(c, ' ' | '\\') || c.is_ascii_control() {
            let name = match c {
                ' ' => "a space".to_owned(),
                '\\' => "a \\".to_owned(),
                _ => format!("a control character (U+{:04X})", u32::from(c)),
            };
            return Some(format!(
                "the address holds {name}: delete it, or write {} where it belongs to the user, the \
                 password or the path",
                escaped(c)
            ));
        }
        if let Some(found) = Lookalike::of(c) {
            return Some(format!("the address: {}", found.words(c, found.meant)));
        }
    }
    let (_, rest) = text.split_once(':')?;
    let (before, _) = rest.strip_prefix("//").unwrap_or(rest).rsplit_once('@')?;
    let found: BTreeSet<char> = before.chars().filter(|c| "/?#".contains(*c)).collect();
    if found.is_empty() {
        return None;
    }
    let each = |how: fn(char) -> String| found.iter().map(|c| how(*c)).collect::<Vec<_>>();
    let written = each(|c| format!("{c} as {}", escaped(c))).join(", ");
    Some(format!(
        "the address has {} before its last @, so its password and its host cannot be told apart: in the \
         user and the password write {written} (and @ as %40); after the host write @ as %40",
        each(String::from).join(" and ")
    ))
}

fn escaped(c: char) -> String {
    c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Returns an address for messages, if it is `SCHEME://HOST:PORT` and nothing else. Another address
/// may hold a secret, and is not shown.
pub(super) fn shown(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("mqtt", text));
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (rest, ""),
    };
    let host_like = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let plain = match v6 {
        Some(v6) => v6.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.')),
        None => host.chars().all(host_like),
    };
    let plain = plain
        && scheme.chars().all(|c| c.is_ascii_alphanumeric())
        && port.len() <= 5
        && port.bytes().all(|b| b.is_ascii_digit());
    if plain { format!("{text:?}") } else { "the address (not shown here)".to_owned() }
}

/// Returns a value for messages, or `"***"` if it may hold a secret.
pub(super) fn quoted(text: &str) -> String {
    let secret = text.contains('@') || text.contains("//") || text.chars().count() > 80;
    if secret { "\"***\"".to_owned() } else { format!("{text:?}") }
}

#[cfg(test)]
mod tests;
