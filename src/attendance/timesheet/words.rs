//! The sentences of a sheet, in its two languages: the notes, and the flags with their signs.

use serde::{Serialize, Serializer};

use super::{Flag, Note};
use crate::{attendance::export::Doubt, words::counted};

impl Doubt {
    fn chinese(&self) -> String {
        match self {
            Doubt::NoProof => "文件不含证明".to_owned(),
            Doubt::Unsigned => "该闸机无法签署其账本".to_owned(),
            Doubt::UnknownKey { fingerprint } => format!("公钥指纹 {fingerprint} 未经核对"),
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
            Flag::Supplement => "补",
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
            Flag::Supplement => "有补记，未计入",
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
            Flag::Supplement => "passages added later, not counted in",
        }
    }
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
            Note::Unread { gateway, records } => {
                format!("{gateway} 有 {records} 条记录无法读取，不在本表")
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
            Note::Unread { gateway, records } => {
                let are = if *records == 1 { "is" } else { "are" };
                let count = counted(*records, "record");
                format!("{gateway}: {count} cannot be read and {are} not on this sheet")
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

/// JSON has the English sentence.
impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.english())
    }
}
