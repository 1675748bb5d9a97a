//! The record push of a face terminal, `RecPush`.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::keys::{CustomId, Keys, plain};
use crate::{
    attendance::{Means, Record, RecordOutcome},
    ledger::LedgerId,
    uplink::profiles::profile::{Attached, Unmade},
};

/// Maximum age of a record that counts as live in the dialect.
const LIVE: SignedDuration = SignedDuration::from_secs(10);
/// Number of bits of a record's number. It fits a signed number of 32 bits.
const NUMBER_BITS: u32 = 31;
/// Number of bits of a seq within the numbers of one ledger.
const SEQ_BITS: u32 = 21;
const NUMBERS: u64 = 1 << NUMBER_BITS;

/// Returns the first number of a ledger's records. A platform knows a record by its number alone,
/// and the seqs of another ledger begin at 1 again.
fn first_number(ledger: LedgerId) -> u64 {
    let [a, b, ..] = ledger.0;
    let window = u64::from(u16::from_be_bytes([a, b])) % (1 << (NUMBER_BITS - SEQ_BITS));
    window << SEQ_BITS
}

/// Returns the number of a record at the platform.
pub fn number_of(ledger: LedgerId, seq: u64) -> u64 {
    (first_number(ledger) + seq) % NUMBERS
}

/// Returns the seq of a record by its number at the platform.
pub fn seq_of(ledger: LedgerId, number: u64) -> u64 {
    (number % NUMBERS + NUMBERS - first_number(ledger)) % NUMBERS
}

/// Returns the members of a record's `info`; `None` for one that a platform would count though no
/// person walked.
pub fn info(
    keys: &Keys,
    sn: &str,
    record: &Record,
    attached: &Attached,
) -> Result<Option<Map<String, Value>>, Unmade> {
    match record.outcome {
        RecordOutcome::NotPassed => return Ok(None),
        RecordOutcome::Claimed if !keys.supplements => {
            let words = "a person added this attendance, and in this dialect it would look like a \
                         passage at the gate: supplements = true sends it all the same";
            return Err(Unmade::Lacks(words.to_owned()));
        }
        _ => {}
    }
    let id_number = attached.identity.as_ref().map(|(_, number)| number.as_str());
    let custom_id = match keys.custom_id {
        CustomId::Worker => Some(record.worker.as_str()),
        CustomId::IdCard => id_number,
        CustomId::Code => attached.code.as_deref(),
    };
    let Some(custom_id) = custom_id else {
        let (worker, what) = (
            &record.worker,
            match keys.custom_id {
                CustomId::Code => "the platform has given no number to",
                _ => "the ID number is erased or cannot be read of",
            },
        );
        let words = format!("{what} the worker {worker}, whose records need it (custom_id)");
        return Err(Unmade::Lacks(words));
    };
    let ledger = ledger_id(&record.ledger)?;
    let mut info: Map<String, Value> =
        keys.constants.iter().map(|(name, value)| (name.clone(), plain(value))).collect();
    let mut say = |name: &str, value: Value| drop(info.insert(name.to_owned(), value));
    say("facesluiceId", sn.into());
    say("customId", custom_id.into());
    say("personId", record.worker.as_str().into());
    say("personName", record.name.as_str().into());
    say("RecordID", number_of(ledger, record.seq).to_string().into());
    say("VerifyStatus", "1".into());
    say("direction", keys.directions.of(record.direction));
    say("time", local(&record.at).into());
    say("Sendintime", u8::from(is_live(record, attached.made_at)).into());
    if let Some(kind) = verify_type(record) {
        say("VerfyType", kind.into());
    }
    if let Some(score) = record.score {
        say("similarity1", format!("{:.2}", score * 100.0).into());
    }
    if let Some(number) = id_number.filter(|_| keys.send_id_card) {
        say("idCard", number.into());
    }
    if let Some(Ok(photo)) = &attached.photo {
        say("pic", format!("data:image/jpeg;base64,{}", STANDARD.encode(photo)).into());
    }
    if keys.extras {
        say("gatehouse", extras(record, attached));
    }
    Ok(Some(info))
}

fn ledger_id(digits: &str) -> Result<LedgerId, Unmade> {
    let mut id = [0; 16];
    match hex::decode_to_slice(digits, &mut id) {
        Ok(()) => Ok(LedgerId(id)),
        Err(_) => Err(Unmade::Lacks("the record names no ledger".to_owned())),
    }
}

/// Returns a time of a record as the dialect has it: local, without zone and milliseconds.
pub fn local(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

fn is_live(record: &Record, made_at: Timestamp) -> bool {
    let recorded: Option<Timestamp> = record.recorded_at.parse().ok();
    let is_fresh = |at: Timestamp| made_at.duration_since(at) <= LIVE;
    let is_added = record.outcome == RecordOutcome::Claimed || record.corrects.is_some();
    !record.resent && !is_added && recorded.is_some_and(is_fresh)
}

/// Returns 1 for a face, 2 for an ID card and 3 for both; the dialect has no value for other means.
fn verify_type(record: &Record) -> Option<u8> {
    match (record.means, record.score) {
        (Means::Face, _) => Some(1),
        (Means::IdCard, None) => Some(2),
        (Means::IdCard, Some(_)) => Some(3),
        _ => None,
    }
}

/// Returns what the dialect has no place for.
fn extras(record: &Record, attached: &Attached) -> Value {
    let mut extras = json!({
        "ledger": record.ledger,
        "seq": record.seq,
        "passage": record.passage,
        "outcome": record.outcome,
        "means": record.means,
        "team": record.team,
        "contractor": record.contractor,
        "clock_synced": record.clock.synced,
    });
    if let Some(seq) = record.corrects {
        extras["corrects"] = seq.into();
    }
    if let Some(Err(why)) = &attached.photo {
        extras["no_pic"] = why.as_str().into();
    }
    extras
}
