//! Answers of a terminal to commands.

use serde_json::{Map, Value, json};

use super::command::Known;

/// Returns the answer to a command, from the gateway's own reply.
pub fn answer(sn: &str, reply: &Value) -> Value {
    let Known { operator, custom_id, message } =
        Known::of(reply["id"].as_str().unwrap_or_default());
    let (result, error) = (&reply["result"], &reply["error"]);
    let ok = reply["ok"] == true;
    let mut info = Map::new();
    let mut say = |name: &str, value: Value| drop(info.insert(name.to_owned(), value));
    say("facesluiceId", sn.into());
    say("result", if ok { "ok" } else { "fail" }.into());
    if !custom_id.is_empty() {
        say("customId", custom_id.into());
    }
    let code = if ok { "200" } else { code_of(error["code"].as_str().unwrap_or_default()) };
    if !ok {
        let text = |name: &str| error[name].as_str().unwrap_or_default();
        say("detail", format!("{}: {}", text("code"), text("message")).into());
    }
    if let Some(state) = result["state"].as_str() {
        // No member of the dialect says whether the gate admits the worker.
        say("state", state.into());
    }
    if let Some(waits) = result["waits"].as_str() {
        say("detail", format!("{waits}: a person at the site must confirm").into());
    }
    if let (Some(done), Some(failed)) = (result["done"].as_array(), result["failed"].as_array()) {
        let kind = if operator.starts_with("Del") { "Del" } else { "Add" };
        let failure = |one: &Value| {
            let code = code_of(one["code"].as_str().unwrap_or_default());
            json!({ "customId": one["id"], "errcode": code, "detail": one["message"] })
        };
        say(&format!("{kind}SucNum"), done.len().to_string().into());
        say(&format!("{kind}ErrNum"), failed.len().to_string().into());
        say(&format!("{kind}SucInfo"), done.iter().map(|id| json!({ "customId": id })).collect());
        say(&format!("{kind}ErrInfo"), failed.iter().map(failure).collect());
    }
    if let Some(rows) = result["rows"].as_u64() {
        say("PushNum", rows.to_string().into());
    }
    if operator == "SearchPerson" && ok {
        let barred = matches!(result["state"].as_str(), Some("suspended" | "barred"));
        say("personId", result["id"].clone());
        say("name", result["name"].clone());
        say("personType", if barred { "1" } else { "0" }.into());
        say("validBegin", result["valid_from"].clone());
        say("validEnd", result["valid_until"].clone());
    }
    let operator = if operator.is_empty() { "Ack".to_owned() } else { format!("{operator}-Ack") };
    json!({ "messageId": message, "operator": operator, "code": code, "info": info })
}

/// Returns the code of the dialect that is nearest to one of the gateway. `detail` has the gateway's.
fn code_of(code: &str) -> &'static str {
    match code {
        "busy" => "410",
        "too_large" => "460",
        "no_such_worker" => "461",
        "misaddressed" => "463",
        "photo_unreadable" => "463",
        "no_time_s" => "464",
        "no_time_e" => "465",
        "no_face" | "several_faces" | "several_people" | "face_too_small" | "not_upright"
        | "another_face" | "blurred" | "covered" | "too_dark" | "too_bright" | "turned_away"
        | "vision" => "464",
        "storage" | "damaged" | "internal" | "interrupted" => "465",
        "full" => "467",
        "photo_too_large" => "469",
        "photo_by_address" => "471",
        "duplicate_face" => "478",
        "duplicate" | "no_consent" | "consent_withdrawn" | "pending" | "unchanged" => "479",
        _ => "462",
    }
}
