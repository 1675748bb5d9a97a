use super::*;
use crate::{
    clock::SystemClock,
    config::{Secret, Storage},
    reader::{CardNumber, IdCard},
    roster::{Person, Token},
    store,
};

fn number(text: &str) -> CardNumber {
    CardNumber::typed(text).unwrap().0
}

fn id_card(number: &str) -> Heard {
    let text = String::new;
    let card =
        IdCard { name: text(), sex: text(), birth: text(), number: number.into(), until: text() };
    Heard::IdCard(Box::new(card))
}

/// A roster of one worker with a card, a lost card and an identity card.
fn desk() -> (Desk, watch::Sender<Arc<Roster>>) {
    let dir = tempfile::tempdir().unwrap();
    let config = Storage::usual(dir.path().into(), Secret::File(dir.path().join("key")));
    let (store, _) = store::open(&config, Arc::new(SystemClock::new().unwrap())).unwrap();
    let sealer = store.sealer().clone();
    let text = |text: &str| text.to_owned();
    let person = Person {
        id: "W001".parse().unwrap(),
        name: text("刘峰"),
        team: text("x"),
        contractor: text("x"),
        trade: text("x"),
    };
    let token = |lookup, kind| Token { lookup, kind };
    let tokens = vec![
        token(roster::card_lookup(&sealer, number("1001")), TokenKind::Card),
        token(roster::card_lookup(&sealer, number("1002")), TokenKind::LostCard),
        token(roster::id_card_lookup(&sealer, "110101199003070011"), TokenKind::IdCard),
    ];
    let worker = Worker { tokens, ..Worker::new(person) };
    let (sender, snapshot) = watch::channel(Arc::new(Roster::new(7, vec![(worker, Vec::new())])));
    let desk = Desk {
        roster: snapshot,
        codes: Arc::new(Codes::new(("P-1".into(), "gate-1".into()), &sealer, None)),
        store,
        clock: Arc::new(SystemClock::new().unwrap()),
        last_trusted: Arc::new(LastTrusted::new(None)),
        timezone: TimeZone::UTC,
    };
    (desk, sender)
}

fn feed(direction: Direction) -> (ReaderFeed, mpsc::Receiver<Presented>, mpsc::Sender<Reading>) {
    let (lane, presented) = mpsc::channel(8);
    let (sends, readings) = mpsc::channel(8);
    (ReaderFeed { name: "north-card".into(), direction, lane, readings }, presented, sends)
}

/// Returns the worker or the reason, and the flags, of the claim of a card.
async fn claimed(
    desk: &Desk,
    direction: Direction,
    heard: &Heard,
) -> (Result<String, Reason>, Vec<Flag>) {
    let (feed, ..) = feed(direction);
    let (shown, at) = (desk.shown(heard).unwrap(), Monotonic::from_millis(5));
    let claim = desk.claim(&feed, heard, shown, at).await;
    assert_eq!((claim.visit, claim.roster_version), (None, 7));
    (claim.who.map(|worker| worker.person.id.to_string()), claim.flags)
}

#[tokio::test]
async fn a_card_claims_its_worker_and_an_unknown_one_no_worker() {
    let (desk, _roster) = desk();
    let card = |text| Heard::Card(number(text));
    for direction in Direction::BOTH {
        let known = (Ok("W001".to_owned()), Vec::new());
        assert_eq!(claimed(&desk, direction, &card("1001")).await, known);
        assert_eq!(claimed(&desk, direction, &id_card("110101199003070011")).await, known);
        let unknown = (Err(Reason::CardUnknown), Vec::new());
        assert_eq!(claimed(&desk, direction, &card("1003")).await, unknown);
        assert_eq!(claimed(&desk, direction, &id_card("110101199003070038")).await, unknown);
    }
}

#[tokio::test]
async fn i15_a_lost_card_opens_no_entry_and_denies_no_exit() {
    let (desk, _roster) = desk();
    let card = Heard::Card(number("1002"));
    let entry = claimed(&desk, Direction::Entry, &card).await;
    assert_eq!(entry, (Err(Reason::CardLost), Vec::new()));
    let exit = claimed(&desk, Direction::Exit, &card).await;
    assert_eq!(exit, (Ok("W001".to_owned()), vec![Flag::CARD_LOST]));
}

#[tokio::test]
async fn a_card_that_repeats_is_claimed_twice_a_second_at_most() {
    let (desk, _roster) = desk();
    let (feed, mut lane, sends) = feed(Direction::Entry);
    let task = tokio::spawn(present(feed, desk));
    for ms in (0..1200).step_by(100) {
        let heard = Heard::Card(number("1001"));
        sends.send(Reading { heard, at: Monotonic::from_millis(ms) }).await.unwrap();
    }
    let heard = Heard::Card(number("1003"));
    sends.send(Reading { heard, at: Monotonic::from_millis(1150) }).await.unwrap();
    drop(sends);
    let mut seen = Vec::new();
    while let Some(Presented::Claim(claim)) = lane.recv().await {
        seen.push((claim.captured.as_millis(), claim.who.is_ok()));
    }
    task.await.unwrap();
    assert_eq!(seen, [(0, true), (500, true), (1000, true), (1150, false)]);
}
