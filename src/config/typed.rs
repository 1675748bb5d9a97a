//! Explains serde's errors: an unknown key, a missing key, or a value of another type. The messages
//! use words of the file, where serde names Rust's types.

use super::{
    tables::TABLES,
    upstream::ADDRESSES,
    value::{ALIKE, likeness, listed},
    written::one_line,
};

/// The tables that may occur several times.
const SEVERAL: [&str; 4] = ["lane", "lane.camera", "lane.reader", "upstream"];

/// Splits a key into its table and its own name: `lane[0].turnstile.port` is `lane.turnstile`,
/// `port`.
fn parts(key: &str) -> (String, String) {
    let without_index = |segment: &str| segment.split('[').next().unwrap_or_default().to_owned();
    let plain = key.split('.').map(without_index).collect::<Vec<_>>().join(".");
    match plain.rsplit_once('.') {
        Some((table, name)) => (table.to_owned(), name.to_owned()),
        None => (String::new(), plain),
    }
}

fn below(table: &str, name: &str) -> String {
    if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") }
}

pub(super) fn is_table(path: &str) -> bool {
    !path.is_empty() && TABLES.iter().any(|(table, _)| *table == path)
}

/// Returns the header of a table, as the file has it.
pub(super) fn header(table: &str) -> String {
    if SEVERAL.contains(&table) { format!("[[{table}]]") } else { format!("[{table}]") }
}

fn under(table: &str) -> String {
    match table {
        "" => "at the top of the file, before any [table]".to_owned(),
        table => format!("under {}", header(table)),
    }
}

/// Returns the key of an error, and the fault in words.
pub(super) fn explain(key: &str, message: &str) -> (String, String) {
    let message = one_line(message);
    let (table, name) = parts(key);
    if message.starts_with("unknown field") {
        return (key.to_owned(), unknown(&table, &name, &listed(&message)));
    }
    if let Some(missing) = message.strip_prefix("missing field ") {
        let missing = missing.trim_matches('`');
        let of = if key == "." { String::new() } else { below(&table, &name) };
        let path = below(&of, missing);
        let key = if of.is_empty() { missing.to_owned() } else { format!("{key}.{missing}") };
        let words = match is_table(&path) {
            true => format!("is missing: add {} and its keys", header(&path)),
            false => format!("is missing: add {missing} = … {}", under(&of)),
        };
        return (key, words);
    }
    let path = below(&table, &name);
    let in_list = key.ends_with(']') || message.starts_with("invalid length");
    if is_table(&path) && in_list && !SEVERAL.contains(&path.as_str()) {
        // serde takes a list for a table's values in their order.
        return (
            path.clone(),
            format!("write {}, in single brackets: there is only one", header(&path)),
        );
    }
    if message.starts_with("unknown variant") {
        let known: Vec<_> = listed(&message).iter().map(|k| format!("{k:?}")).collect();
        let words = match &known[..] {
            [only] => format!("is not in this version, which has only {only}"),
            known => format!("must be {}", known.join(" or ")),
        };
        return (key.to_owned(), words);
    }
    let kind = ["invalid type: ", "invalid value: "];
    let found = kind.iter().find_map(|kind| message.strip_prefix(kind));
    let words = match found.and_then(|found| found.rsplit_once(", expected ")) {
        Some((found, wanted)) => of_another_type(&path, found, wanted),
        None if message.starts_with("invalid length") => "must be two numbers in [ ]".to_owned(),
        None if message.starts_with("wanted string") => "must be text in quotes".to_owned(),
        None => message,
    };
    (key.to_owned(), words)
}

fn of_another_type(path: &str, found: &str, wanted: &str) -> String {
    let within = |text: &str, quote: char| {
        text.split_once(quote).and_then(|(_, rest)| Some(rest.rsplit_once(quote)?.0.to_owned()))
    };
    let text = found.strip_prefix("string ").and_then(|text| within(text, '"'));
    let number = ["integer ", "floating point "].iter().find_map(|n| found.strip_prefix(n));
    let number = number.and_then(|number| within(number, '`'));
    let table = header(path);
    match wanted {
        "a boolean" => "must be true or false, without quotes".to_owned(),
        ADDRESSES => format!("must be {ADDRESSES}: [\"…\", \"…\"]"),
        "a sequence" if is_table(path) => format!("write {table}, in double brackets"),
        "a sequence" => "must be a list in [ ]".to_owned(),
        "a tuple of size 2" => "must be two numbers in [ ]".to_owned(),
        _ if is_table(path) => {
            format!("is a table: write {table} on a line of its own, its keys below")
        }
        _ if wanted.starts_with("struct ") => "must be { entry = 0, exit = 1 }".to_owned(),
        "i64" | "f32" | "f64" => {
            let whole = if wanted == "i64" { "a whole number" } else { "a number" };
            if number.is_some() {
                // The number is an integer beyond 64 bits, or has decimals.
                return match found.starts_with("integer") {
                    true => "is too large a number".to_owned(),
                    false => format!("must be {whole}, without a decimal point"),
                };
            }
            match text.filter(|text| text.trim().parse::<f64>().is_ok()) {
                Some(text) => format!("must be {whole}: write {}, without quotes", text.trim()),
                None => format!("must be {whole}, without quotes"),
            }
        }
        _ => match number.or_else(|| within(found, '`')) {
            Some(number) => format!("must be text in quotes: \"{number}\""),
            None => "must be text in quotes".to_owned(),
        },
    }
}

/// Explains an unknown key, which may belong to another table or be misspelt.
fn unknown(table: &str, name: &str, listed: &[String]) -> String {
    // An upstream's profile lists only its own keys, so the common keys are added.
    let common = TABLES.iter().filter(|(known, _)| *known == table).flat_map(|(_, keys)| keys);
    let own = listed.iter().filter(|key| !common.clone().any(|known| known == *key));
    let keys: Vec<&String> = common.clone().chain(own).collect();
    let shown = |table: &str, key: &str| {
        let path = below(table, key);
        if is_table(&path) { header(&path) } else { key.to_owned() }
    };
    let owners: Vec<_> =
        TABLES.iter().filter(|(_, keys)| keys.iter().any(|key| key == name)).collect();
    let all =
        || TABLES.iter().flat_map(|(table, keys)| keys.iter().map(|key| (*table, key.as_str())));
    let hint = match &owners[..] {
        [(owner, _), ..] if is_table(&below(owner, name)) => {
            format!("write {}", shown(owner, name))
        }
        [_, ..] => {
            let owners: Vec<_> = owners.iter().map(|(table, _)| under(table)).collect();
            format!("it belongs {}", owners.join(" or "))
        }
        [] => match nearest(name, keys.iter().map(|key| (table, key.as_str())))
            .or_else(|| nearest(name, all()))
        {
            Some((other, key)) if other == table || is_table(&below(other, key)) => {
                format!("did you mean {}?", shown(other, key))
            }
            Some((other, key)) => format!("did you mean {key}, {}?", under(other)),
            None => "config/gatehouse.toml explains each key".to_owned(),
        },
    };
    let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
    format!("unknown key ({hint}), expected {}", keys.join(", "))
}

/// Returns the key with the most similar spelling, if its likeness is [`ALIKE`] or more.
fn nearest<'a>(
    name: &str,
    keys: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<(&'a str, &'a str)> {
    let found = keys.map(|key| (likeness(name, key.1), key)).max_by(|a, b| a.0.total_cmp(&b.0));
    found.filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, key)| key)
}
