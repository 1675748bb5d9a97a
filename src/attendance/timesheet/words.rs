//! The sentences of a sheet, in its two languages: the notes, and the flags with their signs.

use serde::{Serialize, Serializer};

use super::{Flag, Note};
use crate::{
    attendance::{days::hours, export::Doubt},
    words::counted,
};

impl Doubt {
    fn chinese(&self) -> String {
        match self {
            Doubt::NoProof => "文件不含证明".to_owned(),
            Doubt::Unsigned => "该闸机无法签署其账本".to_owned(),
            Doubt::UnknownKey { fingerprint } => format!("公钥指纹 {fingerprint} 未经核对"),
            Doubt::SetAside => "部分记录出自已停用的旧账本，无账本签名".to_owned(),
            Doubt::Fails => "证明不成立：文件曾被改动或出自他处".to_owned(),
        }
    }

    fn english(&self) -> String {
        match self {
            Doubt::NoProof => "the file has no proofs".to_owned(),
            Doubt::Unsigned => "the gateway could not sign its ledger".to_owned(),
            Doubt::UnknownKey { fingerprint } => {
                format!("the key's fingerprint {fingerprint} was not compared")
            }
            Doubt::SetAside => {
                "some are of a ledger that was set aside and has no signed head".to_owned()
            }
            Doubt::Fails => {
                "its proofs do not hold: it was altered, or made by someone else".to_owned()
            }
        }
    }
}

impl Flag {
    /// Returns the sign in a cell.
    pub fn sign(self) -> &'static str {
        match self {
            Flag::MissingIn => "入",
            Flag::MissingOut => "出",
            Flag::Across => "夜",
            Flag::Unconfirmed => "疑",
            Flag::Clock => "钟",
            Flag::Corrected => "正",
            Flag::Supplement => "补",
            Flag::Disputed => "议",
            Flag::Reader => "卡",
        }
    }

    /// Returns the flag's Chinese text.
    pub fn chinese(self) -> &'static str {
        match self {
            Flag::MissingIn => "缺进场记录",
            Flag::MissingOut => "缺出场记录",
            Flag::Across => "夜班，跨日",
            Flag::Unconfirmed => "通过未经闸机确认，工时另计",
            Flag::Clock => "时钟未同步",
            Flag::Corrected => "时钟有误，时刻已更正",
            Flag::Supplement => "有补记，未计入",
            Flag::Disputed => "有异议，工时另计",
            Flag::Reader => "刷卡、身份证或二维码进出，非人脸",
        }
    }

    /// Returns the flag's English text.
    pub fn english(self) -> &'static str {
        match self {
            Flag::MissingIn => "no entry recorded",
            Flag::MissingOut => "no exit recorded",
            Flag::Across => "night shift over the day's start",
            Flag::Unconfirmed => "passage not confirmed by the gate, hours apart",
            Flag::Clock => "clock not synchronised",
            Flag::Corrected => "clock was wrong, time corrected",
            Flag::Supplement => "passages added later, not counted in",
            Flag::Disputed => "disputed passages, hours apart",
            Flag::Reader => "passages by card, ID card or QR code, not by face",
        }
    }
}

fn was(count: usize) -> &'static str {
    if count == 1 { "was" } else { "were" }
}

impl Note {
    /// Returns the note's Chinese sentence.
    pub fn chinese(&self) -> String {
        match self {
            Note::LedgerBegins { gateway, begins, set_aside } => {
                let damaged = set_aside.as_ref();
                let damaged = damaged.map(|place| format!("（原账本已损坏，存于 {place}）"));
                let damaged = damaged.unwrap_or_default();
                format!("{gateway} 的账本自 {begins} 起{damaged}，此前的记录不在本表")
            }
            Note::Illegible { gateway, place } => {
                format!("{gateway} 有一旧账本（{place}）不能全部读取，其记录可能不在本表")
            }
            Note::ReadEarly { gateway, at } => {
                format!("{gateway} 的记录读取于 {at}，当时本月尚未结束")
            }
            Note::ExportedPart { gateway, file, has: (from, to), needs: (before, after) } => {
                format!(
                    "{gateway}（{file}）只含 {from} 至 {to}；整月及月首月末的夜班须导出 {before} 至 {after}"
                )
            }
            Note::ExportedEarly { gateway, file, at } => {
                format!("{gateway}（{file}）导出于 {at}，当时本月尚未结束")
            }
            Note::StillInside { workers } => format!(
                "读取记录时尚有 {workers} 人在场内，其班次可能未结束，所缺工时不在本表；离场后请重新制表"
            ),
            Note::Unverified { gateway, file, doubt } => {
                let file = file.as_ref().map(|file| format!("（{file}）")).unwrap_or_default();
                format!("{gateway}{file} 的记录未经验证：{}", doubt.chinese())
            }
            Note::Corrected { gateway, records } => format!(
                "{gateway} 有 {records} 条记录产生时时钟有误，已按同次开机后来同步的时钟更正；原时刻另列"
            ),
            Note::WithoutDate { gateway, records, minutes } => format!(
                "{gateway} 有 {records} 条记录无法确定日期（该次开机时钟始终未同步），单独列出，其 {} 工时不在任何合计内；请按实际日期补记",
                hours(*minutes)
            ),
            Note::Unread { gateway, records, entries } => {
                format!(
                    "{gateway} 有 {records} 条账目无法读取或被改动，不在本表{}",
                    listed(entries, *records)
                )
            }
            Note::Unsynchronised { gateway } => {
                format!("闸机 {gateway} 的时钟未同步，其全部时刻可能有偏差")
            }
            Note::Unconfirming { gateway } => {
                format!("闸机 {gateway} 未确认任何进出，其天数和工时均列为“未确认”")
            }
        }
    }

    /// Returns the note's English sentence.
    pub fn english(&self) -> String {
        match self {
            Note::LedgerBegins { gateway, begins, set_aside } => {
                let damaged = set_aside.as_ref();
                let damaged = damaged
                    .map(|place| format!(", in place of a damaged one that lies in {place}"));
                let damaged = damaged.unwrap_or_default();
                format!(
                    "{gateway}: its ledger begins on {begins}{damaged}; what was before is not on \
                     this sheet"
                )
            }
            Note::Illegible { gateway, place } => format!(
                "{gateway}: an earlier ledger in {place} cannot be read in full, and records of it may be \
                 missing on this sheet; run `gatehouse ledger rescue` and make the sheet again"
            ),
            Note::ReadEarly { gateway, at } => {
                format!("{gateway}: read on {at}, before all of the month was past")
            }
            Note::ExportedPart { gateway, file, has: (from, to), needs: (before, after) } => {
                format!(
                    "{gateway} ({file}): holds {from} to {to}; export {before} to {after} for the whole \
                 month with the night shifts at its ends"
                )
            }
            Note::ExportedEarly { gateway, file, at } => {
                format!("{gateway} ({file}): exported on {at}, before all of the month was past")
            }
            Note::StillInside { workers } => {
                let who = counted(*workers, "worker");
                let (has, their) = if *workers == 1 { ("has", "the") } else { ("have", "their") };
                format!(
                    "{who} {has} come in and not left when the records were read: {their} shift may \
                     still run, and adds no hours yet; make the sheet again afterwards"
                )
            }
            Note::Unverified { gateway, file, doubt } => {
                let file = file.as_ref().map(|file| format!(" ({file})")).unwrap_or_default();
                format!("{gateway}{file}: its records are NOT VERIFIED: {}", doubt.english())
            }
            Note::Corrected { gateway, records } => {
                let (count, were) = (counted(*records, "time"), was(*records));
                format!(
                    "{gateway}: {count} {were} recorded by a wrong clock and {were} corrected by the                      clock that was synchronised later; the recorded times are listed apart"
                )
            }
            Note::WithoutDate { gateway, records, minutes } => {
                let have = if *records == 1 { "has" } else { "have" };
                format!(
                    "{gateway}: {} {have} no date, because the clock was never synchronised between                      two starts of the machine; listed apart, with {} hours that are in no sum: add                      these passages by hand on the right day",
                    counted(*records, "record"),
                    hours(*minutes)
                )
            }
            Note::Unread { gateway, records, entries } => {
                let (were, are) = if *records == 1 { ("was", "is") } else { ("were", "are") };
                let count = counted(*records, "ledger entry");
                format!(
                    "{gateway}: {count} cannot be read or {were} altered, and {are} not on this \
                     sheet{}",
                    listed(entries, *records)
                )
            }
            Note::Unsynchronised { gateway } => {
                format!("{gateway}: its clock was not synchronised at any of its times")
            }
            Note::Unconfirming { gateway } => {
                format!("{gateway}: it confirmed no passage, so its days and hours are unconfirmed")
            }
        }
    }
}

/// Returns the indices of entries as the end of a sentence. `all`: the number of entries.
fn listed(entries: &[u64], all: u64) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let more = if all > entries.len() as u64 { ", …" } else { "" };
    let entries: Vec<_> = entries.iter().map(ToString::to_string).collect();
    format!(" ({}{more})", entries.join(", "))
}

/// JSON has the English sentence.
impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.english())
    }
}
