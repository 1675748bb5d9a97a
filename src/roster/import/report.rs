//! Makes texts of a roster safe to show: masks ID numbers, and neutralises formulas.

use crate::words::is_blank;

/// Minimum number of digits that makes a number look like that of a document or an account.
const TELLING: usize = 15;

/// Returns a text for people and reports. ID numbers become stars also in a file's name, in the
/// wrong column, and with blanks or hyphens between their parts. Control characters become blanks,
/// because they could move a terminal's cursor.
pub fn masked(text: &str) -> String {
    let mut shown: Vec<char> = Vec::with_capacity(text.len());
    // The indexes in `shown` of the current number's digits, and the sign between its parts.
    let (mut digits, mut joint): (Vec<usize>, Option<char>) = (Vec::new(), None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let wide_x = matches!(c, 'x' | 'X' | 'ｘ' | 'Ｘ');
        if c.is_numeric() || (wide_x && !digits.is_empty()) {
            digits.push(shown.len());
            shown.push(c);
            continue;
        }
        let sign = if is_blank(c) { ' ' } else { c };
        let joins = matches!(sign, ' ' | '-' | '－') && joint.is_none_or(|joint| joint == sign);
        let next = chars.clone().find(|next| !is_blank(*next));
        let within = !digits.is_empty() && next.is_some_and(char::is_numeric);
        if joins && within {
            joint = Some(sign);
        } else {
            hide(&mut digits, &mut shown);
            joint = None;
        }
        shown.push(if c.is_control() { ' ' } else { c });
    }
    hide(&mut digits, &mut shown);
    shown.into_iter().collect()
}

/// Replaces all but the last four digits of a long number with stars.
fn hide(digits: &mut Vec<usize>, shown: &mut [char]) {
    let hidden = if digits.len() >= TELLING { digits.len() - 4 } else { 0 };
    for at in digits.drain(..).take(hidden) {
        if let Some(digit) = shown.get_mut(at) {
            *digit = '*';
        }
    }
}

/// Returns a cell that no spreadsheet reads as a formula: an apostrophe makes it text.
pub fn neutral(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        format!("'{cell}")
    } else {
        cell.to_owned()
    }
}
