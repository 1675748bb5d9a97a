//! Shows a whole number as its cell does: a format of `0000` makes 12 to `0012`.
//!
//! A format is a pattern of ECMA-376, part 1, 18.8.31. Only patterns that pad a whole number, or put
//! a text around it, are followed. Others, such as `#,##0.00`, show an amount and not a number of a
//! person; the plain number is taken.

use super::cells::EXACT;

/// A part of a pattern.
enum Part {
    /// The place of a digit; true where a zero fills it.
    Digit(bool),
    Literal(char),
}

/// Returns a number as its cell shows it. `None`: the format is another kind, or the number is.
pub(super) fn shown(number: f64, code: &str) -> Option<String> {
    if !(0.0..EXACT).contains(&number) || number.fract() != 0.0 {
        return None;
    }
    let pattern = pattern(code)?;
    let first = pattern.iter().position(|part| matches!(part, Part::Digit(_)))?;
    let plain = format!("{number:.0}");
    let mut digits = plain.chars().rev().peekable();
    let mut shown: Vec<char> = Vec::new();
    for (at, part) in pattern.iter().enumerate().rev() {
        match part {
            Part::Literal(c) => shown.push(*c),
            // The first place has all the digits that are left.
            Part::Digit(_) if at == first && digits.peek().is_some() => {
                shown.extend(digits.by_ref());
            }
            Part::Digit(fills) => shown.extend(digits.next().or(fills.then_some('0'))),
        }
    }
    Some(shown.into_iter().rev().collect::<String>().trim().to_owned())
}

/// Returns the parts of the pattern for numbers above zero.
fn pattern(code: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.get(..7).filter(|g| g.eq_ignore_ascii_case("general")) {
            parts.push(Part::Digit(false));
            rest = rest.get(after.len()..)?;
            continue;
        }
        rest = rest.get(c.len_utf8()..)?;
        match c {
            ';' => break,
            '0' => parts.push(Part::Digit(true)),
            '#' | '?' => parts.push(Part::Digit(false)),
            '"' => {
                let (text, after) = rest.split_once('"')?;
                parts.extend(text.chars().map(Part::Literal));
                rest = after;
            }
            '\\' | '_' | '*' => {
                let next = rest.chars().next()?;
                rest = rest.get(next.len_utf8()..)?;
                if c == '\\' {
                    parts.push(Part::Literal(next));
                }
            }
            // A colour or a language; a condition is another kind.
            '[' => {
                let (inner, after) = rest.split_once(']')?;
                if inner.starts_with(['<', '>', '=']) {
                    return None;
                }
                rest = after;
            }
            '-' | ' ' | '(' | ')' | '+' | '$' => parts.push(Part::Literal(c)),
            c if !c.is_ascii() => parts.push(Part::Literal(c)),
            _ => return None,
        }
    }
    Some(parts)
}
