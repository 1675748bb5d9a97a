//! Finds the lines of a roster that are no workers: sums, signatures, notes, repeated headings.
//!
//! A line with a document's number, or with an id and a name, is a worker's line and is never
//! skipped.

use super::{
    Cell, Line, cells, compact, folded,
    headings::{self, Field, Layout},
};
use crate::roster::WorkerId;

/// Words in Chinese at the beginning of a cell. Blanks within a word are ignored: 合　计.
const BEGINNINGS: &str = "累计 总人数 制表 填表 填报 编制 审核 审查 复核 审批 审定 批准 核准 校对 经办 负责人 \
    项目负责人 项目经理 日期 备注 说明 注: 附: 以下空白 以下无正文 续表";
/// Words in Chinese anywhere in a cell: 钢筋班小计, 负责人签字.
const WITHIN: &str = "合计 小计 总计 共计 签字 签名 签章 盖章";
/// Words in English at the beginning of a cell, not followed by a letter.
const WORDS: &str = "total, totals, subtotal, sub-total, sub total, grand total, sum, prepared by, made by, \
    filled in by, checked by, reviewed by, verified by, approved by, signature, signatures, \
    signed, signed by, authorised by";
/// Words in English at the beginning of a cell, followed by a colon or a number. Without these they
/// may be names.
const LABELS: &str = "date note notes remark remarks page";
/// Maximum number of cells examined, from the left: a sum may follow its team and contractor.
const CELLS: usize = 3;
/// Maximum number of characters of a label before its colon: 班组长：
const LABEL_MAX: usize = 12;
/// Minimum length of a document's number, and minimum number of digits in it.
const NUMBER: (usize, usize) = (8, 6);
/// Maximum number of characters of a skipped line that are shown.
const SHOWN: usize = 20;

/// Returns the first text of a line that is no worker's. `None`: the line may be a worker's.
pub(super) fn first_text(line: &Line, layout: &Layout) -> Option<String> {
    let cell = |field| layout.cell(line, field);
    if is_number(cell(Field::IdNumber)) || is_worker(cell(Field::Id), cell(Field::Name)) {
        return None;
    }
    let texts = line.cells.iter().filter_map(|cell| match cell {
        Cell::Empty => None,
        Cell::Text(text) => Some(text.as_str()),
        Cell::Number(_) | Cell::Date(_) | Cell::Broken(_) => Some("0"),
    });
    let texts: Vec<&str> = texts.filter(|text| !text.trim().is_empty()).collect();
    let rule = |text: &&str| !text.chars().any(char::is_alphanumeric);
    let found = if headings::are_headings(line) || texts.iter().all(rule) {
        texts.first()
    } else {
        texts.iter().take(CELLS).find(|text| is_closing(text))
    };
    found
        .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
        .map(|text| text.chars().take(SHOWN).collect())
}

fn is_number(cell: &Cell) -> bool {
    match cells::plain(cell) {
        Ok(text) => {
            let text = compact(text.as_deref().unwrap_or_default());
            let digits = text.bytes().filter(u8::is_ascii_digit).count();
            let plain = text.bytes().all(|b| b.is_ascii_alphanumeric());
            plain && text.len() >= NUMBER.0 && digits >= NUMBER.1
        }
        // The number is so large that its last digits are lost.
        Err(_) => matches!(cell, Cell::Number(_)),
    }
}

/// Returns whether there is an id and a name. Such a line is a worker without an ID number, and its
/// row is refused.
fn is_worker(id: &Cell, name: &Cell) -> bool {
    let text = |cell: &Cell| cells::plain(cell).ok().flatten().unwrap_or_default();
    let (id, name) = (text(id), text(name));
    let is_id = id.parse::<WorkerId>().is_ok() && id.bytes().any(|b| b.is_ascii_digit());
    is_id && name.starts_with(char::is_alphabetic) && !is_closing(&name)
}

fn is_closing(text: &str) -> bool {
    let folded = folded(text);
    let begins = |c: &char| !c.is_alphanumeric();
    let text = folded.trim_start_matches(|c| begins(&c)).trim();
    let close: String = compact(text);
    let behind = |text: &str, word: &str| text.strip_prefix(word).map(|r| r.chars().next());
    let word =
        |word: &str| behind(text, word).is_some_and(|c| c.is_none_or(|c| !c.is_alphanumeric()));
    let label = |word: &str| {
        let rest = text.strip_prefix(word).map(str::trim_start);
        let next = rest.map(|rest| rest.chars().next());
        next.flatten().is_some_and(|c| c == ':' || c.is_ascii_digit())
    };
    let chinese = |c: char| c.is_alphabetic() && !c.is_ascii();
    let labelled = close
        .split_once(':')
        .is_some_and(|(label, _)| label.chars().count() <= LABEL_MAX && label.chars().any(chinese));
    let counted = |first, last| {
        let rest = close.strip_prefix(first).unwrap_or_default();
        let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        digits.len() < rest.len() && digits.starts_with(last)
    };
    labelled
        || counted('共', ['人', '名', '页'])
        || counted('第', ['页', '张', '/'])
        || BEGINNINGS.split(' ').any(|word| close.starts_with(word))
        || WITHIN.split(' ').any(|word| close.contains(word))
        || WORDS.split(", ").any(word)
        || LABELS.split(' ').any(label)
}
