//! Carries out the commands that a platform sends over its link, and replies to them.
//!
//! In: payloads as received ([`Incoming`]). Out: a reply to each. Touches: the tables `command` and
//! `command_forgotten`, and through [`Services`] all that an admin's request may touch.
//!
//! A command that changes something is stored before it is carried out, and its reply after it.
//! Therefore a repeated command gets the same reply and is not carried out again. A command that
//! the end of the daemon interrupted is carried out again, except a release (I4). Commands are
//! carried out one after the other. A release takes as long as a person walks, so releases run
//! beside the other commands. A panic fails only its own command.
//!
//! | file | what it does |
//! |---|---|
//! | `parse` | reads a command strictly (pure) |
//! | `earlier` | remembers commands and their replies |
//! | `refusal` | why a command is refused: codes and sentences |
//! | `times` | checks when a command is valid (pure) |
//! | `verbs` | carries commands out, through [`Services`] |
//! | `waiting` | removals that came while the clock was not trusted |

mod earlier;
mod parse;
mod refusal;
mod times;
mod verbs;
mod waiting;

pub use self::{earlier::forget, waiting::REMOVAL_WAITS};

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::{
    earlier::{CommandKey, Earlier},
    parse::Verb,
    refusal::Refusal,
    times::Times,
    verbs::Way,
};
use crate::{
    clock::{Monotonic, Stamp},
    config::CommandLevel,
    failpoint,
    ledger::{Actor, Via},
    memory::{Held, SMALL},
    services::{Code, Failure, Services},
    store::{Priority, Sealer},
    supervision::caught,
    uplink::{
        Incoming,
        profiles::{
            Profile,
            native::command,
            profile::{Envelope, NoCommand},
        },
    },
};

/// Maximum number of commands of a link that wait for the one before. The next command is answered
/// `busy`.
const WAITING: usize = 2;
/// Maximum number of releases of a link at once. The next release is answered `busy`.
const RELEASES: usize = 4;
/// Maximum number of copies of a command that wait for its reply. The next copy is answered `busy`.
const COPIES: usize = 4;
/// Maximum number of times that the daemon may end during one command. Then the command is not
/// tried again.
const ATTEMPTS: u32 = 3;

/// A command that was read, with its issuer.
struct Asked {
    from: Issuer,
    signed: bool,
    /// It is signed, and the configuration trusts its upstream for faces.
    trusted: bool,
    verb: Verb,
    times: Times,
    known: CommandKey,
    /// Kept until the command is answered.
    held: Held,
}

/// The platform that issued a command; the reply goes to it.
struct Issuer {
    upstream: String,
    profile: Arc<dyn Profile>,
    answer: oneshot::Sender<Vec<u8>>,
}

impl Issuer {
    fn answer(self, reply: &Value) {
        // The link may have ended. The reply is stored all the same.
        let _ = self.answer.send(self.profile.answer(reply));
    }

    fn refuse(self, no: &NoCommand) {
        let NoCommand { id, code, message } = no;
        tracing::warn!(upstream = %self.upstream, id, code, "a command is refused");
        self.answer(&command::refused(id.as_deref(), code, message));
    }
}

/// Returns the reason for which a command is not carried out, with the platform's argument names.
fn refusal(id: Option<&str>, failure: &Failure) -> NoCommand {
    let argument = |field: &str| format!("args.{}", field.replace('-', "_"));
    let message = failure.in_words_of(argument);
    NoCommand { id: id.map(str::to_owned), code: failure.code.word(), message }
}

/// Returns the failure as an issuer may see it. Any client of the broker may send unsigned
/// commands, and would learn from these failures which ID numbers and faces are enrolled, and as
/// which workers.
fn shown_to(signed: bool, failure: Failure) -> Failure {
    let telling = [Code::Duplicate, Code::DuplicateFace, Code::AnotherFace, Code::ConsentWithdrawn];
    let tells = |one: &Failure| telling.contains(&one.code);
    if signed || !(tells(&failure) || failure.also.iter().any(tells)) {
        return failure;
    }
    Refusal::Duplicate.into()
}

/// Carries out the commands of all links, until cancelled. Each link has its own queue, and the
/// queues take turns: a flood over one link delays a command of another link by one command.
pub async fn run(
    services: Arc<Services>,
    incoming: Vec<mpsc::Receiver<Incoming>>,
    cancel: CancellationToken,
) {
    let under_way = Mutex::default();
    let runner = Runner { services: &services, under_way, turn: tokio::sync::Mutex::default() };
    let links = incoming.into_iter().map(|incoming| of_link(&runner, incoming));
    let all = async {
        tokio::join!(futures_util::future::join_all(links), waiting::settle(&services));
        // The links end before the daemon does.
        std::future::pending::<()>().await;
    };
    cancel.run_until_cancelled(all).await;
}

/// Carries out the commands of one link.
async fn of_link(runner: &Runner<'_>, mut incoming: mpsc::Receiver<Incoming>) {
    let (queue, mut waiting) = mpsc::channel::<Asked>(WAITING);
    let one_by_one = async {
        while let Some(asked) = waiting.recv().await {
            // The lock is fair, so the other links have their turn first.
            let _turn = runner.turn.lock().await;
            runner.carry_out(asked).await;
        }
    };
    let hand_out = async {
        let mut releases = FuturesUnordered::new();
        loop {
            let came = tokio::select! {
                came = incoming.recv() => came,
                Some(()) = releases.next() => continue,
            };
            // The link has ended.
            let Some(came) = came else { break };
            let Some(asked) = runner.read(came).await else { continue };
            let full = match asked.verb {
                Verb::Release { .. } if releases.len() < RELEASES => {
                    releases.push(runner.carry_out(asked));
                    None
                }
                Verb::Release { .. } => Some(asked),
                _ => queue.try_send(asked).err().map(mpsc::error::TrySendError::into_inner),
            };
            if let Some(Asked { from, known, .. }) = full {
                runner.services.commands.count(&from.upstream, |c| c.commands_failed += 1);
                from.refuse(&refusal(Some(&known.id), &Refusal::Busy.into()));
            }
        }
        while releases.next().await.is_some() {}
        drop(queue);
    };
    tokio::join!(hand_out, one_by_one);
}

/// Reads commands and carries them out.
struct Runner<'a> {
    services: &'a Services,
    /// Commands that are being carried out, by upstream and id, with the copies received meanwhile.
    under_way: Mutex<HashMap<(String, String), Vec<Issuer>>>,
    /// Held while a command other than a release is carried out.
    turn: tokio::sync::Mutex<()>,
}

impl Runner<'_> {
    /// Reads a payload. Answers it where it is no valid command.
    async fn read(&self, came: Incoming) -> Option<Asked> {
        let Incoming { upstream, profile, authority, payload, held, received, answer } = came;
        let (speaks, upstream_name) = (profile.clone(), upstream.clone());
        let trusts = authority.clone();
        let from = Issuer { upstream, profile, answer };
        let (sealer, stamp) = (self.services.store.sealer().clone(), self.services.clock.stamp());
        let large = payload.len() > SMALL;
        let read = move || {
            let envelope = speaks.command(&payload, &authority)?;
            let word = command::shown(&envelope.verb);
            let read = read(&sealer, stamp, &upstream_name, received, authority.level(), envelope)?;
            let (_, verb, _, known) = &read;
            if verb.is_answer() && !speaks.lists_workers() {
                return Err(refusal(Some(&known.id), &Refusal::UnknownVerb(word).into()));
            }
            Ok(read)
        };
        let trusts_faces = trusts.trusts_faces();
        let read = if large {
            let read = tokio::task::spawn_blocking(read).await;
            read.unwrap_or_else(|e| Err(refusal(None, &Refusal::Unread(e).into())))
        } else {
            caught(async { read() })
                .await
                .unwrap_or_else(|fault| Err(refusal(None, &Failure::internal(fault))))
        };
        match read {
            Ok((signed, verb, times, known)) => {
                let trusted = signed && trusts_faces;
                Some(Asked { from, signed, trusted, verb, times, known, held })
            }
            Err(no) => {
                let now = self.services.clock.monotonic();
                self.services.commands.count(&from.upstream, |c| {
                    c.commands_failed += 1;
                    if UNAUTHORISED.contains(&no.code) {
                        c.unauthorised(now, no.code);
                    }
                });
                from.refuse(&no);
                None
            }
        }
    }

    async fn carry_out(&self, asked: Asked) {
        let Asked { from, signed, trusted, verb, times, known, held: _held } = asked;
        let id = &known.id;
        let name = (from.upstream.clone(), id.clone());
        match self.lock().entry(name.clone()) {
            Entry::Vacant(free) => drop(free.insert(Vec::new())),
            // The link reconnected during the command. The copies of both connections get the
            // reply.
            Entry::Occupied(mut copies) if copies.get().len() < COPIES => {
                copies.get_mut().push(from);
                return;
            }
            Entry::Occupied(_) => {
                from.refuse(&refusal(Some(id), &Refusal::UnderWay.into()));
                return;
            }
        }
        let done = caught(self.done(&from, signed, (verb, trusted), times, &known)).await;
        let copies = self.lock().remove(&name).unwrap_or_default();
        let done = done.unwrap_or_else(|fault| {
            tracing::error!(upstream = %from.upstream, id, %fault, "a command ended with a panic");
            Err(Failure::internal(fault))
        });
        let now = self.services.clock.monotonic();
        self.services.commands.count(&from.upstream, |c| match &done {
            Ok(Done::Now(reply)) if reply["ok"] == true => c.commands_done += 1,
            Ok(Done::Now(_)) => c.commands_failed += 1,
            Ok(Done::Before(_)) => c.commands_repeated += 1,
            Err(failure) => {
                c.commands_failed += 1;
                c.commands_expired += u64::from(failure.code == Code::Expired);
                if failure.code == Code::NotAllowed {
                    c.unauthorised(now, failure.code.word());
                }
            }
        });
        let reply = match done {
            Ok(Done::Now(reply) | Done::Before(reply)) => reply,
            Err(failure) => refused(id, &shown_to(signed, failure)),
        };
        let code = reply["error"]["code"].as_str();
        tracing::info!(upstream = %from.upstream, id, code, "a command is answered");
        for copy in copies {
            copy.answer(&reply);
        }
        from.answer(&reply);
    }

    /// Carries out a command, unless it was carried out before. Returns its reply, or the reason
    /// for which it is not tried.
    async fn done(
        &self,
        from: &Issuer,
        signed: bool,
        (verb, trusted): (Verb, bool),
        times: Times,
        known: &CommandKey,
    ) -> Result<Done, Failure> {
        let (store, id) = (&self.services.store, &known.id);
        if verb.only_reads() {
            self.in_time(self.services.clock.stamp(), times, &verb)?;
            let way = Way { signed, trusted, ..Way::default() };
            let read = self.tried(from, verb, way).await;
            return Ok(Done::Now(reply(id, read)));
        }
        let looked = known.clone();
        let earlier = store.read(move |tx| earlier::look(tx, &looked)).await?;
        let mut attempts = 1;
        let waits;
        let void_after = match earlier {
            Earlier::New => {
                let release = matches!(verb, Verb::Release { .. });
                if release && !(signed && from.profile.remote_release()) {
                    return Err(Refusal::NoReleases.into());
                }
                let stamp = self.services.clock.stamp();
                let void_after = self.in_time(stamp, times, &verb)?;
                let mut begun = known.clone();
                begun.trusted &= stamp.synced;
                waits = (!begun.trusted).then_some(times);
                let alone = matches!(verb, Verb::Release { .. });
                let begun = store.write(Priority::Upkeep, move |tx| match alone {
                    // One command may come over two links, where their brokers are bridged.
                    true if earlier::is_known_elsewhere(tx, &begun)? => Ok(Earlier::Reused),
                    _ => earlier::begin(tx, &begun),
                });
                match begun.await? {
                    Earlier::New => {}
                    Earlier::Reused => return Err(Refusal::OtherUpstream.into()),
                    _ => return Err(Refusal::UnderWay.into()),
                }
                failpoint::at("command.begun");
                void_after
            }
            Earlier::Answered(reply) => {
                let reply = serde_json::from_str(&reply).map_err(Refusal::StoredReply)?;
                return Ok(Done::Before(reply));
            }
            Earlier::Begun { trusted } => {
                // The clock may be trusted by now, and show whether the command is in its time.
                let stamp = self.services.clock.stamp();
                let sure = trusted || stamp.synced && self.in_time(stamp, times, &verb).is_ok();
                waits = (!sure).then_some(times);
                let begun = known.clone();
                let attempt = store.write(Priority::Upkeep, move |tx| earlier::attempt(tx, &begun));
                attempts = attempt.await?;
                None
            }
            Earlier::Reused => return Err(Refusal::IdReused.into()),
            Earlier::Forgotten => return Err(Refusal::Forgotten.into()),
        };
        let again = matches!(earlier, Earlier::Begun { .. });
        let way = Way { signed, trusted, void_after, again, waits };
        let done = match verb {
            Verb::Release { .. } if again => Err(Refusal::ReleaseInterrupted.into()),
            _ if attempts > ATTEMPTS => Err(Refusal::Interrupted.into()),
            verb => caught(self.tried(from, verb, way))
                .await
                .unwrap_or_else(|fault| Err(Failure::internal(fault))),
        };
        failpoint::at("command.done");
        let reply = reply(id, done.map_err(|failure| shown_to(signed, failure)));
        let (answered, text) = (known.clone(), reply.to_string());
        let kept =
            store.write(Priority::Upkeep, move |tx| earlier::answered(tx, &answered, &text)).await;
        if let Err(error) = kept {
            // The command is carried out all the same. A repetition is carried out again.
            tracing::warn!(upstream = %from.upstream, id, %error, "the reply of a command could not be stored");
        }
        failpoint::at("command.answered");
        Ok(Done::Now(reply))
    }

    async fn tried(&self, from: &Issuer, verb: Verb, way: Way) -> Result<Value, Failure> {
        verbs::carry_out(self.services, verb, self.actor(from), way).await
    }

    fn actor(&self, from: &Issuer) -> Actor {
        let uid = nix::unistd::geteuid().as_raw();
        Actor { uid, user: from.upstream.clone(), via: Via::Upstream }
    }

    fn in_time(&self, now: Stamp, times: Times, verb: &Verb) -> Result<Option<Monotonic>, Failure> {
        times.checked(now, self.services.last_trusted.ms(), verb)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Vec<Issuer>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Done {
    Now(Value),
    Before(Value),
}

fn reply(id: &str, done: Result<Value, Failure>) -> Value {
    match done {
        Ok(result) => command::done(id, result),
        Err(failure) => refused(id, &failure),
    }
}

fn refused(id: &str, failure: &Failure) -> Value {
    let NoCommand { id, code, message } = refusal(Some(id), failure);
    command::refused(id.as_deref(), code, &message)
}

/// Codes of the commands that are refused for want of authority.
const UNAUTHORISED: [&str; 5] =
    ["unsigned", "no_key", "bad_signature", "misaddressed", Code::NotAllowed.word()];

fn read(
    sealer: &Sealer,
    stamp: Stamp,
    upstream: &str,
    received: Monotonic,
    level: CommandLevel,
    envelope: Envelope,
) -> Result<(bool, Verb, Times, CommandKey), NoCommand> {
    let Envelope { id, verb, args, times, signed } = envelope;
    let (issued_at, expires_at) = times.unwrap_or_else(|| Times::from_now(stamp));
    let refuse = |failure: Failure| refusal(Some(&id), &failure);
    // The arguments of a command that is not allowed are not read, so the reply says nothing of
    // them.
    if parse::level(&verb).is_some_and(|needed| needed > level) || level == CommandLevel::None {
        return Err(refuse(Refusal::NotAllowed { verb: command::shown(&verb), level }.into()));
    }
    if !signed && args.get("allow_duplicate_face").is_some_and(|reason| !reason.is_null()) {
        return Err(refuse(Refusal::UnsignedFace.into()));
    }
    // The names are sorted, so the same arguments give the same text.
    let contents = format!("{verb} {}", Value::Object(args.clone()));
    // A time far ahead is refused later. It is limited here, so that it does not make later
    // commands look old.
    let issued_ms = issued_at.as_millisecond().min(stamp.wall_ms.saturating_add(times::AHEAD_MS));
    let known = CommandKey::new(sealer, upstream, &id, &contents, issued_ms, stamp.synced);
    drop(contents);
    let verb = Verb::read(&verb, args).map_err(refuse)?;
    Ok((signed, verb, Times { issued_at, expires_at, received }, known))
}
