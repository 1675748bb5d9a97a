//! What a platform asks for by a command over its link, and the reply.
//!
//! In: payloads as they came ([`Incoming`]). Out: each one's reply. Touches: the tables `command`
//! and `command_forgotten`, and through [`Services`] whatever an admin's request would.
//!
//! A command that changes something is remembered before it is carried out, and its reply after: so
//! one that comes again is answered again and not done again. Where the daemon ended in between, all
//! is done again that can be, and a gate is not (I4). Commands are carried out one after the other;
//! releases of gates, of which one takes as long as a person walks, beside them. A panic costs the
//! command that it happened in.
//!
//! | file | what it does |
//! |---|---|
//! | `parse` | what is asked for, strictly read (pure) |
//! | `earlier` | which commands have been seen |
//! | `times` | from when until when a command is one (pure) |
//! | `verbs` | carries them out, through [`Services`] |

mod earlier;
mod parse;
mod times;
mod verbs;

pub use self::earlier::forget;

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
    times::Times,
};
use crate::{
    clock::{Monotonic, Stamp},
    failpoint,
    ledger::{Actor, Via},
    services::{Code, Failure, Services},
    store::{Priority, Sealer},
    supervision::caught,
    uplink::{
        Incoming,
        profiles::{
            Profile,
            native::command::{self, BUSY},
            profile::{Envelope, NoCommand},
        },
    },
};

/// Commands that are read and wait for the one before; the next one is told `busy`.
const WAITING: usize = 2;
/// Releases under way at once; the next one is told `busy`.
const RELEASES: usize = 4;
const UNDER_WAY: &str = "it is being carried out: send it again after a while for its reply";
/// Copies of a command under way that wait for its reply; the next one is told `busy`.
const COPIES: usize = 4;
/// How often the daemon may end while it carries a command out; after that it is not tried again.
const ATTEMPTS: u32 = 3;
/// What is larger is read off the async threads.
const SMALL: usize = 64 * 1024;

/// A command that was read, and where its reply goes.
struct Asked {
    from: Issuer,
    verb: Verb,
    times: Times,
    known: CommandKey,
}

/// Whose command it is.
struct Issuer {
    upstream: String,
    profile: Arc<dyn Profile>,
    answer: oneshot::Sender<Vec<u8>>,
}

impl Issuer {
    fn answer(self, reply: &Value) {
        // The link may have gone; the command stays answered.
        let _ = self.answer.send(self.profile.answer(reply));
    }

    fn refuse(self, no: &NoCommand) {
        let NoCommand { id, code, message } = no;
        tracing::warn!(upstream = %self.upstream, id, code, "a command is refused");
        self.answer(&command::refused(id.as_deref(), code, message));
    }
}

/// Why a command is not carried out, with the arguments as the platform calls them.
fn refusal(id: Option<&str>, failure: &Failure) -> NoCommand {
    let argument = |field: &str| format!("args.{}", field.replace('-', "_"));
    let message = failure.in_words_of(argument);
    NoCommand { id: id.map(str::to_owned), code: failure.code.word(), message }
}

/// Carries out what the links hand over, until cancelled.
pub async fn run(
    services: Arc<Services>,
    mut incoming: mpsc::Receiver<Incoming>,
    cancel: CancellationToken,
) {
    let (queue, mut waiting) = mpsc::channel::<Asked>(WAITING);
    let runner = Runner { services: &services, under_way: Mutex::default() };
    let one_by_one = async {
        while let Some(asked) = waiting.recv().await {
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
            // All links have ended.
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
                from.refuse(&refusal(Some(&known.id), &Failure::new(Code::Busy, BUSY)));
            }
        }
        while releases.next().await.is_some() {}
    };
    cancel.run_until_cancelled(async { tokio::join!(hand_out, one_by_one) }).await;
}

/// Where commands are read and carried out.
struct Runner<'a> {
    services: &'a Services,
    /// Commands being carried out, by upstream and id, each with the copies that came meanwhile.
    under_way: Mutex<HashMap<(String, String), Vec<Issuer>>>,
}

impl Runner<'_> {
    /// Reads a payload; answers it where it is no command.
    async fn read(&self, came: Incoming) -> Option<Asked> {
        let Incoming { upstream, profile, payload, received, answer } = came;
        let (speaks, upstream_name) = (profile.clone(), upstream.clone());
        let from = Issuer { upstream, profile, answer };
        let (sealer, stamp) = (self.services.store.sealer().clone(), self.services.clock.stamp());
        let large = payload.len() > SMALL;
        let read = move || read(&sealer, stamp, &upstream_name, received, &*speaks, &payload);
        let read = if large {
            tokio::task::spawn_blocking(read).await.unwrap_or_else(|e| {
                Err(refusal(None, &Failure::internal(format!("it could not be read: {e}"))))
            })
        } else {
            caught(async { read() })
                .await
                .unwrap_or_else(|fault| Err(refusal(None, &Failure::internal(fault))))
        };
        match read {
            Ok((verb, times, known)) => Some(Asked { from, verb, times, known }),
            Err(no) => {
                self.services.commands.count(&from.upstream, |c| c.commands_failed += 1);
                from.refuse(&no);
                None
            }
        }
    }

    async fn carry_out(&self, asked: Asked) {
        let Asked { from, verb, times, known } = asked;
        let id = &known.id;
        let name = (from.upstream.clone(), id.clone());
        match self.lock().entry(name.clone()) {
            Entry::Vacant(free) => drop(free.insert(Vec::new())),
            // The link came back before it was done: both connections' copies get the reply.
            Entry::Occupied(mut copies) if copies.get().len() < COPIES => {
                copies.get_mut().push(from);
                return;
            }
            Entry::Occupied(_) => {
                from.refuse(&refusal(Some(id), &Failure::new(Code::Busy, UNDER_WAY)));
                return;
            }
        }
        let done = caught(self.done(&from, verb, times, &known)).await;
        let copies = self.lock().remove(&name).unwrap_or_default();
        let done = done.unwrap_or_else(|fault| {
            tracing::error!(upstream = %from.upstream, id, %fault, "a command is given up");
            Err(Failure::internal(fault))
        });
        self.services.commands.count(&from.upstream, |c| match &done {
            Ok(Done::Now(reply)) if reply["ok"] == true => c.commands_done += 1,
            Ok(Done::Now(_)) => c.commands_failed += 1,
            Ok(Done::Before(_)) => c.commands_repeated += 1,
            Err(failure) => {
                c.commands_failed += 1;
                c.commands_expired += u64::from(failure.code == Code::Expired);
            }
        });
        let reply = match done {
            Ok(Done::Now(reply) | Done::Before(reply)) => reply,
            Err(failure) => refused(id, &failure),
        };
        let code = reply["error"]["code"].as_str();
        tracing::info!(upstream = %from.upstream, id, code, "a command is answered");
        for copy in copies {
            copy.answer(&reply);
        }
        from.answer(&reply);
    }

    /// The reply of a command that was carried out, now or before; or why it is not even tried.
    async fn done(
        &self,
        from: &Issuer,
        verb: Verb,
        times: Times,
        known: &CommandKey,
    ) -> Result<Done, Failure> {
        let (store, id) = (&self.services.store, &known.id);
        if verb.only_reads() {
            times.checked(self.services.clock.stamp(), &verb)?;
            let read = self.tried(from, verb, None, false).await;
            return Ok(Done::Now(reply(id, read)));
        }
        let looked = known.clone();
        let earlier = store.read(move |tx| earlier::look(tx, &looked)).await?;
        let mut attempts = 1;
        let void_after = match earlier {
            Earlier::New => {
                if matches!(verb, Verb::Release { .. }) && !from.profile.remote_release() {
                    let problem = "the gates of this gateway are not released from afar; its \
                                   configuration may allow it (remote_release)";
                    return Err(Failure::new(Code::NotAllowed, problem));
                }
                let void_after = times.checked(self.services.clock.stamp(), &verb)?;
                let begun = known.clone();
                let alone = matches!(verb, Verb::Release { .. });
                let begun = store.write(Priority::Upkeep, move |tx| match alone {
                    // Over bridged brokers one command may come by two links.
                    true if earlier::is_known_elsewhere(tx, &begun)? => Ok(Earlier::Reused),
                    _ => earlier::begin(tx, &begun),
                });
                match begun.await? {
                    Earlier::New => {}
                    Earlier::Reused => {
                        let problem =
                            "this release came over another upstream too, and is done once";
                        return Err(Failure::new(Code::IdReused, problem));
                    }
                    _ => return Err(Failure::new(Code::Busy, UNDER_WAY)),
                }
                failpoint::at("command.begun");
                void_after
            }
            Earlier::Answered(reply) => {
                let kept = |e| Failure::new(Code::Damaged, format!("the reply that is kept: {e}"));
                return Ok(Done::Before(serde_json::from_str(&reply).map_err(kept)?));
            }
            Earlier::Begun => {
                let begun = known.clone();
                let attempt = store.write(Priority::Upkeep, move |tx| earlier::attempt(tx, &begun));
                attempts = attempt.await?;
                None
            }
            Earlier::Reused => {
                let problem = "another command had this id: give each one an id of its own";
                return Err(Failure::new(Code::IdReused, problem));
            }
            Earlier::Forgotten => {
                let problem = "it was issued before commands that are no longer remembered, so it \
                               may have been done: issue it anew where it was not";
                return Err(Failure::new(Code::Expired, problem));
            }
        };
        let again = earlier == Earlier::Begun;
        let done = match verb {
            Verb::Release { .. } if again => {
                let problem = "the daemon ended while it was carried out, and it is not done again; \
                               whether the gate opened is in the attendance and the events";
                Err(Failure::new(Code::Interrupted, problem))
            }
            _ if attempts > ATTEMPTS => {
                let problem = format!(
                    "the daemon ended {ATTEMPTS} times while it was carried out, and it is not tried again"
                );
                Err(Failure::new(Code::Interrupted, problem))
            }
            verb => caught(self.tried(from, verb, void_after, again))
                .await
                .unwrap_or_else(|fault| Err(Failure::internal(fault))),
        };
        failpoint::at("command.done");
        let reply = reply(id, done);
        let (answered, text) = (known.clone(), reply.to_string());
        let kept =
            store.write(Priority::Upkeep, move |tx| earlier::answered(tx, &answered, &text)).await;
        if let Err(error) = kept {
            // It is done all the same; where it comes again, it is done again.
            tracing::warn!(upstream = %from.upstream, id, %error, "the reply is not kept");
        }
        failpoint::at("command.answered");
        Ok(Done::Now(reply))
    }

    async fn tried(
        &self,
        from: &Issuer,
        verb: Verb,
        void_after: Option<Monotonic>,
        again: bool,
    ) -> Result<Value, Failure> {
        let uid = nix::unistd::geteuid().as_raw();
        let by = Actor { uid, user: from.upstream.clone(), via: Via::Upstream };
        verbs::carry_out(self.services, verb, by, void_after, again).await
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

fn read(
    sealer: &Sealer,
    stamp: Stamp,
    upstream: &str,
    received: Monotonic,
    profile: &dyn Profile,
    payload: &[u8],
) -> Result<(Verb, Times, CommandKey), NoCommand> {
    let Envelope { id, verb, args, issued_at, expires_at } = profile.command(payload)?;
    // The names are in order, so the same arguments make the same text.
    let contents = format!("{verb} {}", Value::Object(args.clone()));
    // One far ahead is refused, and must not make all that comes later look old.
    let issued_ms = issued_at.as_millisecond().min(stamp.wall_ms.saturating_add(times::AHEAD_MS));
    let known = CommandKey::new(sealer, upstream, &id, &contents, issued_ms, stamp.synced);
    match Verb::read(&verb, args) {
        Ok(verb) => Ok((verb, Times { issued_at, expires_at, received }, known)),
        Err(failure) => Err(refusal(Some(&id), &failure)),
    }
}
