//! The platform's answers: a code, and what it says of a call.

use serde_json::{Map, Value};

use super::super::talk::{Unusable, Verdict};
use crate::words::without_numbers;

/// Maximum length of an answer's beginning in a message, in characters.
const SHOWN: usize = 80;

/// An answer that is JSON and has a code.
pub struct Answer {
    pub code: i64,
    message: String,
    data: Map<String, Value>,
}

/// What the platform says of a whole call.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// It accepted the call.
    Accepted,
    /// Something in the call is wrong, in its words.
    Wrong(String),
    /// It takes no call for now, or answers with an unknown code.
    NotNow(String),
}

impl Answer {
    pub fn read(answer: &[u8]) -> Result<Answer, Unusable> {
        let Ok(Value::Object(mut answer)) = serde_json::from_slice(answer) else {
            let text = String::from_utf8_lossy(answer);
            let begin: String = text.trim().chars().take(SHOWN).collect();
            let begin = without_numbers(&begin);
            return Err(format!(
                "its answer is no JSON object but begins with {begin:?}: check the url"
            )
            .into());
        };
        let Some(code) = answer.get("code").and_then(number) else {
            return Err("its answer has no code: check the url and the profile".into());
        };
        let message = ["message", "msg"].into_iter().find_map(|name| text(answer.get(name)?));
        let data = match answer.remove("data") {
            Some(Value::Object(data)) => data,
            // Some platforms write JSON into a text.
            Some(Value::String(data)) => serde_json::from_str(&data).unwrap_or_default(),
            _ => Map::new(),
        };
        Ok(Answer { code, message: message.unwrap_or_default(), data })
    }

    /// Returns what the answer says of its call. The error is a refusal of the account.
    pub fn said(&self) -> Result<Said, Unusable> {
        let remedy = match self.code {
            0 => return Ok(Said::Accepted),
            -1 => return Ok(Said::Wrong(self.words())),
            -2 => "the signature is refused: check secret, appid and corp_key",
            -3 => "the account has no right to this method: ask its operator",
            -4 => "this site's address is refused: ask its operator to allow it",
            _ => return Ok(Said::NotNow(self.words())),
        };
        Err(Unusable { words: format!("{} ({})", remedy, self.words()), is_login: true })
    }

    /// Returns the platform's words with the code.
    pub fn words(&self) -> String {
        match &*self.message {
            "" => format!("code {}", self.code),
            message => format!("{message}, code {}", self.code),
        }
    }

    /// Returns the number under which the verdict on the call is asked for.
    pub fn serial(&self) -> Option<String> {
        self.data.get("requestSerialCode").and_then(text)
    }

    /// Returns the platform's verdict on an earlier call, in the answer to an inquiry. `Taken` and
    /// `Refused` are of the call as a whole.
    pub fn verdict(&self) -> Option<Verdict> {
        let words = || {
            let mut names = ["message", "result", "msg"].into_iter();
            let words = names.find_map(|name| text(self.data.get(name)?));
            words.unwrap_or_else(|| self.words())
        };
        match self.data.get("status").and_then(number) {
            Some(0) => None,
            Some(10) => Some(Verdict::Refused(words())),
            Some(20) => Some(Verdict::Taken),
            Some(other) => Some(Verdict::Later(format!("its status is {other}, which is unknown"))),
            None => Some(Verdict::Later("its answer has no status".to_owned())),
        }
    }
}

/// Returns a number that is written as a number or as a text.
fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
