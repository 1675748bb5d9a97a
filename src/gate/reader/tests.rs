use super::*;
use crate::{
    clock::SystemClock,
    config::{MatchThreshold, Secret, Storage},
    reader::{CardNumber, IdCard},
    roster::{Consent, Person, Token, enrolment_of},
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

fn feed_of(
    direction: Direction,
    lane: mpsc::Sender<Presented>,
    readings: mpsc::Receiver<Reading>,
) -> ReaderFeed {
    let (name, with_face, camera) = ("north-card".into(), WithFace::Check, None);
    ReaderFeed { name, direction, lane, readings, with_face, camera }
}

fn feed(direction: Direction) -> (ReaderFeed, mpsc::Receiver<Presented>, mpsc::Sender<Reading>) {
    let (lane, presented) = mpsc::channel(8);
    let (sends, readings) = mpsc::channel(8);
    (feed_of(direction, lane, readings), presented, sends)
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

/// A desk whose roster has two workers with a face each, the second without consent.
fn with_faces() -> (Desk, watch::Sender<Arc<Roster>>, [Worker; 2]) {
    let (mut desk, _) = desk();
    let face = |n: usize| vec![enrolment_of(n).faces.remove(0).template];
    let first = enrolment_of(0).worker;
    let withdrawn = Consent {
        withdrawn_on: Some(jiff::civil::date(2026, 11, 1)),
        purpose: Purpose::Face,
        form: None,
        given_on: None,
    };
    let second = Worker { consents: vec![withdrawn], ..enrolment_of(1).worker };
    let workers = vec![(first.clone(), face(0)), (second.clone(), face(1))];
    let (sender, snapshot) = watch::channel(Arc::new(Roster::new(1, workers)));
    desk.roster = snapshot;
    (desk, sender, [first, second])
}

fn look(n: usize, at: Monotonic) -> Option<FaceBefore> {
    let (template, threshold) =
        (enrolment_of(n).faces.remove(0).template, MatchThreshold::new(0.5).unwrap());
    Some(FaceBefore { template, threshold, at })
}

fn likeness(face: Option<FaceBeside>) -> Option<Option<Likeness>> {
    face.map(|face| face.seen.map(|(_, likeness)| likeness))
}

#[tokio::test]
async fn a_face_is_compared_with_the_cards_worker_and_never_without_consent() {
    let (desk, _roster, [first, second]) = with_faces();
    let now = desk.clock.monotonic();
    let (faces, face) = watch::channel(None);
    let (mut feed, ..) = feed(Direction::Entry);
    feed.camera = Some(CameraBeside { face, model: "sface".into(), kind: "v4l2" });
    assert_eq!(likeness(desk.beside(&mut feed, &first, now).await), Some(None), "no face");
    faces.send_replace(look(0, now));
    let own = desk.beside(&mut feed, &first, now).await.unwrap().seen.unwrap();
    assert_eq!((own.1, own.0.score, &own.0.camera[..]), (Likeness::Like, Score::of(1.0), "v4l2"));
    faces.send_replace(look(7, now));
    let other = desk.beside(&mut feed, &first, now).await;
    assert_eq!(likeness(other), Some(Some(Likeness::Unlike)));
    assert_eq!(likeness(desk.beside(&mut feed, &second, now).await), None, "no consent");
    faces.send_replace(look(0, Monotonic::default()));
    assert_eq!(likeness(desk.beside(&mut feed, &first, now).await), Some(None), "long ago");
    feed.camera = None;
    assert_eq!(likeness(desk.beside(&mut feed, &first, now).await), None, "no camera");
}

#[tokio::test]
async fn a_card_that_needs_the_face_waits_for_a_look_that_agrees() {
    let (desk, _roster, [first, _]) = with_faces();
    let now = desk.clock.monotonic();
    let (faces, face) = watch::channel(look(7, now));
    let (mut feed, ..) = feed(Direction::Entry);
    feed.with_face = WithFace::Require;
    feed.camera = Some(CameraBeside { face, model: "sface".into(), kind: "v4l2" });
    let steps_in = async {
        faces.send_replace(look(8, desk.clock.monotonic()));
        tokio::task::yield_now().await;
        faces.send_replace(look(0, desk.clock.monotonic()));
    };
    let (found, ()) = tokio::join!(desk.beside(&mut feed, &first, now), steps_in);
    assert_eq!(likeness(found), Some(Some(Likeness::Like)));
}
