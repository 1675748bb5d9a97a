use super::*;
use crate::ledger::FacesWhat;
use crate::{
    clock::{BootId, Stamp},
    ledger::{Actor, Alike, Entry, FacesChanged, LedgerId, Score, Via},
    roster::{IdType, Particulars},
};
use jiff::civil::date;

const ID: &str = "522201199003074411";

fn by() -> Actor {
    Actor { uid: 0, user: "root".into(), via: Via::Socket }
}

fn person(team: &str) -> Person {
    let text = |text: &str| text.to_owned();
    let (name, trade) = (text("刘峰"), text("steel fixer"));
    let id = "W001".parse().unwrap();
    Person { id, name, team: team.into(), contractor: text("Fuding"), trade }
}

fn stored(body: impl Into<Body>) -> Stored {
    let stamp = Stamp { wall_ms: 0, synced: true, boot: BootId([0; 16]), uptime_ms: 0 };
    let (salt, ledger) = ([0; 16], LedgerId([0; 16]));
    let (body, ran_s, unknown) = (body.into(), 0, Vec::new());
    let entry = Entry { salt, ledger, index: 0, seq: Some(1), stamp, ran_s, body, unknown };
    Stored { entry, leaf: [0; 32] }
}

fn enrolment(identity: &Identity) -> Body {
    let enrolment = Enrolment {
        person: person("钢筋一班"),
        id_type: "resident".into(),
        id_commitment: commitment(&identity.salt, "resident", &identity.number),
        terms: Terms { valid_until: Some(date(2026, 12, 31)), ..Terms::default() },
        model: "x".into(),
        templates: 2,
        alike: None,
        face_withdrawn_on: None,
        compared: None,
        reason: None,
        waits: None,
        by: by(),
    };
    enrolment.into()
}

fn amendment(team: &str, terms: Terms) -> Amendment {
    Amendment {
        person: person(team),
        terms,
        id_commitment: None,
        particulars: Vec::new(),
        faces: None,
        alike: None,
        compared: None,
        waits: None,
        reason: None,
        by: by(),
    }
}

fn shown(changes: &[Change]) -> Vec<String> {
    let json = |value| serde_json::to_string(value).unwrap();
    changes.iter().map(|c| format!("{} {} {}", c.field, json(&c.from), json(&c.to))).collect()
}

#[test]
fn each_entry_gives_the_old_and_the_new_value_of_each_change() {
    let identity = Identity::checked(IdType::Resident, ID, Particulars::default(), None).unwrap();
    let mut past = Past::new(Some(identity.clone()), &[]);
    let mut next = |body: Body| shown(&past.next(&stored(body)));
    assert_eq!(
        next(enrolment(&identity)),
        [
            "name null \"刘峰\"",
            "team null \"钢筋一班\"",
            "contractor null \"Fuding\"",
            "trade null \"steel fixer\"",
            "valid_until null \"2026-12-31\"",
            "id_type null \"resident\"",
            "id_number null \"**************4411\"",
            "templates null 2",
        ]
    );
    let terms = Terms { consent: Some("C-2".into()), ..Terms::default() };
    assert_eq!(
        next(amendment("木工班", terms.clone()).into()),
        ["team \"钢筋一班\" \"木工班\"", "valid_until \"2026-12-31\" null", "consent null \"C-2\"",]
    );
    let model = || "x".to_owned();
    let faces = Some(FacesChanged { what: FacesWhat::Added, model: model(), templates: 3 });
    let alike = Alike { worker: "W002".parse().unwrap(), score: Score(0), reason: model() };
    let hidden = Amendment {
        id_commitment: Some([1; 32]),
        particulars: vec!["phone".into()],
        faces,
        alike: Some(alike),
        ..amendment("木工班", terms)
    };
    assert_eq!(
        next(hidden.into()),
        [
            "id_number \"**************4411\" \"***\"",
            "phone \"***\" \"***\"",
            "photos null \"added\"",
            "templates 2 3",
            "twin_of null \"W002\"",
        ]
    );
    let worker = || "W001".parse().unwrap();
    let state = |state| {
        StateChange { worker: worker(), state, reason: "no helmet".into(), by: by() }.into()
    };
    assert_eq!(next(state(State::Suspended)), ["state \"active\" \"suspended\""]);
    assert_eq!(next(state(State::Active)), ["state \"suspended\" \"active\""]);
    let erased = Erased { templates: 3, photos: 3 };
    let removal = Removal { worker: worker(), reason: None, erased, by: by() };
    assert_eq!(
        next(removal.into()),
        ["state \"active\" \"removed\"", "photos null \"erased\"", "templates 3 0"]
    );
}

#[test]
fn a_consent_shows_its_form_and_a_withdrawal_its_day() {
    let identity = Identity::checked(IdType::Resident, ID, Particulars::default(), None).unwrap();
    let mut past = Past::new(Some(identity.clone()), &[]);
    let erased = Some(Erased { templates: 2, photos: 2 });
    let change = |purpose: &str, what, form: Option<&str>, erased| {
        let (worker, purpose) = ("W001".parse().unwrap(), purpose.parse().unwrap());
        let (on, form) = (date(2026, 10, 31), form.map(str::to_owned));
        ConsentChange { worker, purpose, what, on, form, erased, by: by() }
    };
    let withdrawn = |form, erased| Body::from(change("face", ConsentWhat::Withdrawn, form, erased));
    // The enrolment is on an earlier page.
    assert_eq!(
        shown(&past.next(&stored(withdrawn(Some("C-1"), None)))),
        ["consent \"?\" \"withdrawn on 2026-10-31\"", "consent_on \"?\" null"]
    );
    let mut next = |body: Body| shown(&past.next(&stored(body)));
    next(enrolment(&identity));
    let terms = Terms { consent: Some("C-1".into()), ..Terms::default() };
    next(amendment("钢筋一班", terms).into());
    assert_eq!(
        next(withdrawn(Some("C-1"), erased)),
        ["consent \"C-1\" \"withdrawn on 2026-10-31\"", "photos null \"erased\"", "templates 2 0",]
    );
    assert_eq!(next(amendment("钢筋一班", Terms::default()).into()), [""; 0]);
    assert_eq!(
        next(change("face", ConsentWhat::Given, Some("C-2"), None).into()),
        ["consent null \"C-2\"", "consent_on null \"2026-10-31\""]
    );
    let photo = |what, form| change("photo:platform", what, form, None).into();
    assert_eq!(next(photo(ConsentWhat::Given, Some("P-1"))), ["photo:platform null \"P-1\""]);
    assert_eq!(
        next(photo(ConsentWhat::Withdrawn, Some("P-1"))),
        ["photo:platform \"P-1\" \"withdrawn on 2026-10-31\""]
    );
    let Body::Enrolment(mut again) = enrolment(&identity) else { panic!() };
    again.face_withdrawn_on = Some(date(2026, 10, 31));
    assert!(next(again.into()).contains(&"consent null \"withdrawn on 2026-10-31\"".to_owned()));
}

#[test]
fn an_erasure_long_after_the_last_day_shows_what_is_gone() {
    let erased = Erased { templates: 3, photos: 3 };
    let (worker, valid_until) = ("W001".parse().unwrap(), date(2026, 10, 31));
    let erasure = Erasure { worker, erased, valid_until, kept_days: 90 };
    let changes = Past::new(None, &[]).next(&stored(erasure));
    assert_eq!(shown(&changes), ["photos null \"erased\"", "templates 3 0"]);
}

#[test]
fn the_last_change_of_the_phone_number_shows_the_present_one_masked() {
    let phone = Particulars { phone: Some("13900139000".into()), ..Particulars::default() };
    let identity = Identity::checked(IdType::Resident, ID, phone, None).unwrap();
    let changed = |names: &[&str]| {
        let particulars = names.iter().map(|name| (*name).to_owned()).collect();
        stored(Amendment { particulars, ..amendment("x", Terms::default()) })
    };
    let entries = [stored(enrolment(&identity)), changed(&["phone"]), changed(&["phone"])];
    let changes = |entries: &[Stored]| Past::new(Some(identity.clone()), &[]).all(entries.iter());
    let all = changes(&entries);
    assert_eq!(shown(&all[1]).last().unwrap(), "phone \"***\" \"***\"");
    assert_eq!(shown(&all[2]), ["phone \"***\" \"*******9000\""]);
}

#[test]
fn without_the_earlier_entries_the_old_values_are_unknown() {
    let mut past = Past::new(None, &[]);
    let mut next = |body: Body| shown(&past.next(&stored(body)));
    let first = next(amendment("木工班", Terms::default()).into());
    assert_eq!(first[1], "team \"?\" \"木工班\"");
    assert_eq!(first.len(), 4, "{first:?}");
}
