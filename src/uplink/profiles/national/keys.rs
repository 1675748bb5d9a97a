//! The keys of `[[upstream]]` that are the profile's own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    attendance::Means,
    config::{Direction, Secret},
    roster::IdType,
    uplink::delivery::WINDOW,
    words::words,
};

/// Number of rows of a call, where the configuration does not say so. No public source names the
/// platform's limit.
const AT_ONCE: usize = 50;
/// Maximum number of rows of a call: those on their way at once.
pub const AT_ONCE_MAX: usize = WINDOW;

/// A code of the platform: a text, or a number where it is written without quotes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Code {
    /// A number in JSON.
    Number(u64),
    /// A text in JSON.
    Text(String),
}

impl Code {
    fn text(text: &str) -> Code {
        Code::Text(text.to_owned())
    }
}

words! {
    /// What becomes of a passage of which the gate does not know whether the worker walked.
    #[derive(Default)]
    pub enum Unconfirmed {
        /// It goes as attendance.
        #[default]
        Send = "send",
        /// It is left out.
        LeaveOut = "leave_out",
    }
}

/// The keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The account's name.
    pub appid: String,
    /// The account's secret: 16, 24 or 32 bytes.
    pub secret: Secret,
    /// The company's key, for platforms that want `corpsign`.
    pub corp_key: Option<Secret>,
    /// The platform's code of the project, if it is not `site.project_code`.
    pub platform_project: Option<String>,
    /// The platform's number of each team.
    #[serde(default)]
    pub teams: BTreeMap<String, Code>,
    /// The method that delivers attendance.
    #[serde(default = "attendance")]
    pub method: String,
    /// The method that asks for a verdict.
    #[serde(default = "result")]
    pub result_method: String,
    /// Number of digits of the nonce.
    #[serde(default = "hex_nonce")]
    pub nonce_digits: u8,
    /// Maximum number of rows of a call.
    #[serde(default = "at_once")]
    pub at_once: usize,
    /// What becomes of unconfirmed passages.
    #[serde(default)]
    pub unconfirmed: Unconfirmed,
    /// The codes of the directions.
    #[serde(default)]
    pub direction_codes: DirectionCodes,
    /// The codes of the means.
    #[serde(default)]
    pub attend_types: MeansCodes,
    /// The codes of the ID documents.
    #[serde(default)]
    pub id_card_types: IdCodes,
    /// Texts in a refusal that say that the platform has the record already.
    #[serde(default = "exists")]
    pub taken_words: Vec<String>,
}

fn attendance() -> String {
    "WorkerAttendance.Add".to_owned()
}

fn result() -> String {
    "AsyncHandleResult.Query".to_owned()
}

fn hex_nonce() -> u8 {
    super::account::HEX_NONCE
}

fn at_once() -> usize {
    AT_ONCE
}

fn exists() -> Vec<String> {
    ["考勤记录已存在", "考勤已存在"].map(str::to_owned).into()
}

/// The codes of the directions.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectionCodes {
    entry: Code,
    exit: Code,
}

impl Default for DirectionCodes {
    fn default() -> DirectionCodes {
        DirectionCodes { entry: Code::text("01"), exit: Code::text("02") }
    }
}

impl DirectionCodes {
    /// Returns the code of a direction.
    pub fn of(&self, direction: Direction) -> &Code {
        match direction {
            Direction::Entry => &self.entry,
            Direction::Exit => &self.exit,
        }
    }
}

/// The codes of the means.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeansCodes {
    face: Code,
    card: Code,
    id_card: Code,
    qr: Code,
    manual: Code,
    supplement: Code,
}

impl Default for MeansCodes {
    fn default() -> MeansCodes {
        MeansCodes {
            face: Code::text("001"),
            card: Code::text("006"),
            id_card: Code::text("005"),
            qr: Code::text("010"),
            manual: Code::text("008"),
            supplement: Code::text("011"),
        }
    }
}

impl MeansCodes {
    /// Returns the code of a means; `None` for a means of a later version.
    pub fn of(&self, means: Means) -> Option<&Code> {
        Some(match means {
            Means::Face => &self.face,
            Means::Card => &self.card,
            Means::IdCard => &self.id_card,
            Means::Qr => &self.qr,
            Means::Manual => &self.manual,
            Means::Supplement => &self.supplement,
            Means::Other => return None,
        })
    }
}

/// The codes of the ID documents.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdCodes {
    resident: Code,
    passport: Code,
    hk_macao_permit: Code,
    taiwan_permit: Code,
}

impl Default for IdCodes {
    fn default() -> IdCodes {
        IdCodes {
            resident: Code::text("01"),
            passport: Code::text("08"),
            hk_macao_permit: Code::text("10"),
            taiwan_permit: Code::text("12"),
        }
    }
}

impl IdCodes {
    /// Returns the code of an ID document.
    pub fn of(&self, kind: IdType) -> &Code {
        match kind {
            IdType::Resident => &self.resident,
            IdType::Passport => &self.passport,
            IdType::HkMacaoPermit => &self.hk_macao_permit,
            IdType::TaiwanPermit => &self.taiwan_permit,
        }
    }
}
