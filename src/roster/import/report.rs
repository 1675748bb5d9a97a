//! What of a roster may be shown.

/// From so many digits on, a number may be that of somebody's document or account.
const TELLING: usize = 15;

/// Text for people and reports: ID numbers behind stars, wherever they stand (in a file's name, in
/// the wrong column), and nothing that moves a terminal's cursor.
pub fn masked(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut run: Vec<char> = Vec::new();
    let close = |run: &mut Vec<char>, shown: &mut String| {
        let hidden = if run.len() >= TELLING { run.len() - 4 } else { 0 };
        shown.extend(std::iter::repeat_n('*', hidden));
        shown.extend(run.drain(..).skip(hidden));
    };
    for c in text.chars() {
        if c.is_numeric() || (matches!(c, 'x' | 'X' | 'ｘ' | 'Ｘ') && !run.is_empty()) {
            run.push(c);
        } else {
            close(&mut run, &mut shown);
            shown.push(if c.is_control() { ' ' } else { c });
        }
    }
    close(&mut run, &mut shown);
    shown
}

/// A cell that no spreadsheet takes for a formula: after an apostrophe it is text.
pub fn neutral(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        format!("'{cell}")
    } else {
        cell.to_owned()
    }
}
