//! Explains a file that is not TOML or not text: the place, and what to type instead.

use encoding_rs::GB18030;

use super::{
    lookalike::{Lookalike, Meant},
    typed,
};

/// A fault: the line, and the words.
pub(super) type Fault = (usize, String);

const AS_UTF8: &str = "save it as UTF-8 (in the editor: Save as, encoding UTF-8)";

/// Returns the text of a file's bytes, without a byte order mark.
pub(super) fn decode(bytes: &[u8]) -> Result<&str, Fault> {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) || bytes.contains(&0) {
        return Err((1, format!("the file is saved as UTF-16, or is not text: {AS_UTF8}")));
    }
    std::str::from_utf8(bytes).map(without_mark).map_err(|error| {
        let (valid, rest) = bytes.split_at(error.valid_up_to());
        let before = String::from_utf8_lossy(valid);
        let (line, column) = place(&before, before.len());
        let gbk = GB18030.decode_without_bom_handling_and_without_replacement(bytes).is_some();
        let what = match (gbk, rest.first()) {
            (false, Some(byte)) => format!("the byte 0x{byte:02X} is not UTF-8: {AS_UTF8}"),
            _ => format!(
                "the file is saved as GBK or a similar encoding: {AS_UTF8}, or convert it with `iconv -f GB18030 -t UTF-8`"
            ),
        };
        (line, format!("column {column}: {what}"))
    })
}

pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{FEFF}').unwrap_or(text)
}

/// Returns the line and the column of an offset, counted from 1. Columns count characters.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (1 + before.matches('\n').count(), 1 + line.chars().count())
}

/// Explains the parser's error. The message holds no value of the file, because any may be a
/// secret.
pub(super) fn explain(text: &str, error: &toml::de::Error) -> Fault {
    let span = error.span().unwrap_or(0..0);
    let (line, _) = place(text, span.start);
    let found = scan(text).filter(|(offset, _)| place(text, *offset).0 <= line);
    if let Some((offset, message)) = found {
        let (line, column) = place(text, offset);
        return (line, format!("column {column}: {message}"));
    }
    let words = in_line(text, line, &span, error.message());
    (line, words.unwrap_or_else(|| super::written::one_line(error.message())))
}

/// The place of a character in TOML's grammar.
#[derive(Clone, Copy)]
enum Within {
    Line,
    Comment,
    /// Between quotes, or between triple quotes, with the offset of the opening quote.
    Text {
        quote: char,
        three: bool,
        start: usize,
    },
}

/// Returns the first character that TOML does not allow, or the start of a text without an end.
fn scan(text: &str) -> Option<(usize, String)> {
    let mut within = Within::Line;
    // The place at which a text on this line has ended.
    let mut ended = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        let rest = text.get(at..).unwrap_or_default();
        match within {
            Within::Comment if c == '\n' => within = Within::Line,
            Within::Comment => {}
            Within::Line => match c {
                '#' => within = Within::Comment,
                '"' | '\'' => {
                    let before = text.get(..at).and_then(|t| t.chars().next_back());
                    let touches = before.is_some_and(char::is_alphanumeric);
                    if let Some((quote, end)) = ended.filter(|_| touches) {
                        let remedy = match quote {
                            '"' => "write \\\" for each quote inside it",
                            _ => "put it in \"double quotes\"",
                        };
                        return Some((end, format!("the text ends at this {quote}: {remedy}")));
                    }
                    if touches {
                        let words =
                            format!("the text that ends with {c} here does not begin with one");
                        return Some((at, format!("{words}: type {c} before it")));
                    }
                    let three = rest.starts_with(&String::from(c).repeat(3));
                    within = Within::Text { quote: c, three, start: at };
                    if three {
                        chars.nth(1);
                    }
                }
                '\n' | ',' | '[' | '{' => ended = None,
                '\t' => {}
                '\r' if rest.starts_with("\r\n") => {}
                '\r' => {
                    let words =
                        "lines end with a bare carriage return: save the file with line ends LF";
                    return Some((at, words.to_owned()));
                }
                c => {
                    if let Some(found) = Lookalike::of(c) {
                        // Outside of text a colon is meant as =.
                        let meant = match found.meant {
                            Meant::Type(':') => Meant::Type('='),
                            meant => meant,
                        };
                        return Some((at, found.words(c, meant)));
                    }
                    if !c.is_ascii() {
                        let words = format!(
                            "{c} is outside of quotes: write text in \"quotes\", and a comment after a #"
                        );
                        return Some((at, words));
                    }
                }
            },
            Within::Text { quote, three: false, start } if c == '\n' => {
                let line = text.get(start + 1..at).unwrap_or_default();
                let other = line.char_indices().find(|(_, c)| {
                    matches!(Lookalike::of(*c).map(|l| l.meant), Some(Meant::Type('"' | '\'')))
                });
                return Some(match other.and_then(|(n, c)| Some((n, c, Lookalike::of(c)?))) {
                    Some((n, c, found)) => (start + 1 + n, found.words(c, Meant::Type(quote))),
                    None => {
                        let words =
                            format!("the text that begins with {quote} here has no {quote}");
                        (start, format!("{words} at its end: type one, on the same line"))
                    }
                });
            }
            Within::Text { quote: '"', .. } if c == '\\' => {
                let next = chars.next().map(|(_, next)| next);
                let digits = match next {
                    Some('x') => 2,
                    Some('u') => 4,
                    Some('U') => 8,
                    Some(next) if "btnfre\"\\ \t\r\n".contains(next) => 0,
                    _ => return Some((at, BACKSLASH.to_owned())),
                };
                let mut code = rest.chars().skip(2).take(digits);
                if code.clone().count() < digits || !code.all(|c| c.is_ascii_hexdigit()) {
                    return Some((at, BACKSLASH.to_owned()));
                }
            }
            Within::Text { quote, three: true, .. } if c == quote => {
                if rest.starts_with(&String::from(c).repeat(3)) {
                    chars.nth(1);
                    within = Within::Line;
                }
            }
            Within::Text { quote, three: false, .. } if c == quote => {
                within = Within::Line;
                ended = Some((quote, at));
            }
            Within::Text { .. } if c.is_control() && !"\t\r\n".contains(c) => {
                return Lookalike::of(c).map(|found| (at, found.words(c, found.meant)));
            }
            Within::Text { .. } => {}
        }
    }
    match within {
        Within::Text { quote, start, .. } => {
            let words = format!("the text that begins with {quote} here has no end");
            Some((start, format!("{words}: type {quote} there")))
        }
        _ => None,
    }
}

const BACKSLASH: &str = "in \"text\" a \\ has a meaning of its own: write \\\\ for each, or put the text in 'single quotes'";

/// Returns a message if a value holds a control character: a `\` was probably meant literally.
pub(super) fn escaped_by_mistake(text: &str) -> Option<String> {
    text.contains(char::is_control).then(|| format!("holds a control character: {BACKSLASH}"))
}

/// Explains a faulty line that has only allowed characters.
fn in_line(
    text: &str,
    number: usize,
    span: &std::ops::Range<usize>,
    message: &str,
) -> Option<String> {
    let line = text.lines().nth(number.saturating_sub(1))?;
    let line = without_comment(line).trim();
    let named = line.trim_matches(['[', ']', ' ', ':']);
    if line.starts_with('[')
        && typed::is_table(named)
        && without_blanks(line) != typed::header(named)
    {
        return Some(format!("write {} on a line of its own", typed::header(named)));
    }
    if message == "duplicate key" {
        return Some(twice(text, number, line, text.get(span.clone())?));
    }
    if line.ends_with(':') && typed::is_table(named) {
        return Some(format!("a table is named in brackets: write {}", typed::header(named)));
    }
    if line.starts_with('[') {
        return (!line.contains('=')).then(|| {
            "a table is named in brackets on a line of its own: [storage], or [[lane]] for one of several"
                .to_owned()
        });
    }
    let told = [
        (
            "missing comma between array",
            "a list is [1, 2]: a comma or its ] is missing, here or above",
        ),
        ("unclosed array", "a list is [1, 2]: its ] is missing"),
        (
            "missing comma between key",
            "a { has key = value, key = value }: a comma or the } is missing",
        ),
        ("unclosed inline table", "a { has no } at its end"),
        ("unexpected key or value", "there is more after the value: a line has one key = value"),
    ];
    let told = told.iter().find(|(begin, _)| message.starts_with(begin)).map(|(_, words)| *words);
    if told.is_some() && !message.starts_with("unexpected") {
        return told.map(str::to_owned);
    }
    let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with(['"', '{'])) else {
        if let Some(told) = told {
            return Some(told.to_owned());
        }
        return Some(match line.contains(':') {
            true => "write = between a key and its value, not :".to_owned(),
            false => "is neither key = value nor [table]; a comment begins with #".to_owned(),
        });
    };
    let (key, value) = (key.trim(), value.trim());
    let name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !key.chars().all(name) {
        return Some("a key is one word of A-Z a-z 0-9 - _, followed by =".to_owned());
    }
    if value.starts_with('=') {
        return Some(format!("write only one = after {key}"));
    }
    if value.is_empty() {
        return Some(format!("{key} has no value after its ="));
    }
    if value.ends_with([',', ';']) && !value.starts_with(['[', '{']) {
        return Some("a line ends with its value: delete the , or ; at its end".to_owned());
    }
    match value.to_ascii_lowercase().as_str() {
        "yes" | "on" | "true" | "y" | "enable" | "enabled" => {
            return Some(format!("write {key} = true (in small letters), or {key} = false"));
        }
        "no" | "off" | "false" | "n" | "none" | "disable" | "disabled" => {
            return Some(format!("write {key} = false (in small letters), or {key} = true"));
        }
        _ => {}
    }
    if value.starts_with(['[', '{', '"', '\'']) {
        return told.map(str::to_owned);
    }
    let number = value.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    Some(if number && !value.contains([':', '/', '@']) {
        format!(
            "{key} is neither a number (5 or 0.5: digits alone, without a unit, a comma or a 0 before them) \
             nor text in \"quotes\""
        )
    } else {
        format!("text must be in quotes: {key} = \"…\"")
    })
}

fn twice(text: &str, number: usize, line: &str, key: &str) -> String {
    let before: Vec<&str> = text.lines().take(number.saturating_sub(1)).collect();
    if line.starts_with('[') {
        let bare = without_blanks(line);
        let single = bare.trim_start_matches('[').trim_end_matches(']');
        let single = format!("[{single}]");
        let single = before.iter().position(|other| without_blanks(other) == single);
        if let Some(n) = single.filter(|_| bare.starts_with("[[")) {
            return format!("write {line} on line {} too, in double brackets", n + 1);
        }
        let first = before.iter().position(|other| without_blanks(without_comment(other)) == bare);
        let first = first.map_or_else(String::new, |n| format!(", first on line {}", n + 1));
        return format!("{line} occurs twice{first}: put the keys of both under one");
    }
    let same = |other: &&str| other.split_once('=').is_some_and(|(k, _)| k.trim() == key);
    let table = before.iter().rev().take_while(|other| !other.trim_start().starts_with('['));
    let first = table.clone().position(same);
    let first = first.map(|back| number.saturating_sub(1 + back));
    let first = first.map_or_else(String::new, |n| format!(", first on line {n}"));
    format!("{key} occurs twice in this table{first}: delete one of the two")
}

fn without_blanks(line: &str) -> String {
    line.replace([' ', '\t'], "")
}

/// Returns a line without its comment: up to a `#` that is outside of text.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') => return line.get(..at).unwrap_or(line),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests;
