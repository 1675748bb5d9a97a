//! What of a roster may be shown.

use crate::roster::identity::is_blank;

/// From so many digits on, a number may be that of somebody's document or account.
const TELLING: usize = 15;

/// Text for people and reports: ID numbers behind stars, wherever they stand (in a file's name, in
/// the wrong column), also with blanks or hyphens between their parts, and nothing that moves a
/// terminal's cursor.
pub fn masked(text: &str) -> String {
    let mut shown: Vec<char> = Vec::with_capacity(text.len());
    // Where the digits of the number under way stand in `shown`, and what its parts are joined by.
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

/// All but the last four of a number that is long enough to tell whose it is.
fn hide(digits: &mut Vec<usize>, shown: &mut [char]) {
    let hidden = if digits.len() >= TELLING { digits.len() - 4 } else { 0 };
    for at in digits.drain(..).take(hidden) {
        if let Some(digit) = shown.get_mut(at) {
            *digit = '*';
        }
    }
}

/// A cell that no spreadsheet takes for a formula: after an apostrophe it is text.
pub fn neutral(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        format!("'{cell}")
    } else {
        cell.to_owned()
    }
}
