//! A platform's list of workers: it gives the numbers under which the platform knows them.
//!
//! A worker on the roster is found by the ID number. A list changes nothing else of a worker: an
//! entry that is missing from it suspends and removes no one, because a list may be cut, and the
//! site decides who may enter.

use serde::{Deserialize, Serialize};

use super::{DryRuns, Enroll, Failure, IfKnown, Services, Source};
use crate::{
    ledger::Actor,
    roster::{self, IdType, Identity, Particulars, Person, RosterError, WorkerId},
    store::Priority,
};

/// Text of the team, the contractor and the trade, which the list does not have.
const UNKNOWN: &str = "-";
/// Maximum length of an upstream's name within a worker's id, which has 32 characters.
const NAME_IN_ID: usize = 21;

/// A worker on the list.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedWorker {
    /// The worker's number at the platform.
    pub code: u32,
    /// The name, which may be cut.
    pub name: String,
    /// The number of the resident identity card.
    pub id_number: String,
}

/// The result of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Workers whose number is new.
    pub numbered: u64,
    /// Workers who were unknown, and wait for a person at the site.
    pub enrolled: u64,
    /// Workers who are not on the roster, and were not enrolled.
    pub unknown: u64,
    /// Workers whose entry was refused.
    pub refused: u64,
}

impl Services {
    /// Notes the numbers of workers at the platform `by`. `enrolls`: the others are enrolled without
    /// a face, and wait for a person at the site.
    pub async fn listed(
        &self,
        workers: Vec<ListedWorker>,
        enrolls: bool,
        by: Actor,
    ) -> Result<Listed, Failure> {
        let mut done = Listed::default();
        let unknown = self.number(workers, &by, &mut done).await?;
        if !enrolls {
            done.unknown = unknown.len() as u64;
            return Ok(done);
        }
        for worker in unknown {
            let enrolled = self.enroll_listed(&worker, &by).await;
            match enrolled {
                Ok(()) => {
                    done.enrolled += 1;
                    self.number(vec![worker], &by, &mut done).await?;
                }
                Err(failure) => {
                    let code = worker.code;
                    tracing::warn!(upstream = by.user, code, %failure, "a listed worker is not enrolled");
                    done.refused += 1;
                }
            }
        }
        Ok(done)
    }

    /// Notes the numbers of those who are on the roster, in one transaction. Returns the others.
    async fn number(
        &self,
        workers: Vec<ListedWorker>,
        by: &Actor,
        done: &mut Listed,
    ) -> Result<Vec<ListedWorker>, Failure> {
        let (sealer, upstream) = (self.store.sealer().clone(), by.user.clone());
        let noted = self.store.write(Priority::Upkeep, move |tx| {
            let (mut unknown, mut counts) = (Vec::new(), Listed::default());
            for worker in workers {
                let none = Particulars::default();
                let identity = Identity::checked(IdType::Resident, &worker.id_number, none, None);
                let Ok(identity) = identity else {
                    counts.refused += 1;
                    continue;
                };
                match roster::holder_of(tx, &sealer, &identity)? {
                    Some(id) => {
                        let number = worker.code.to_string();
                        let new = roster::note_number(tx, &upstream, &id, &number)?;
                        counts.numbered += u64::from(new);
                    }
                    None => unknown.push(worker),
                }
            }
            Ok::<_, RosterError>((unknown, counts))
        });
        let (unknown, counts) = noted.await?;
        done.numbered += counts.numbered;
        done.refused += counts.refused;
        Ok(unknown)
    }

    async fn enroll_listed(&self, worker: &ListedWorker, by: &Actor) -> Result<(), Failure> {
        let upstream: String = by.user.chars().take(NAME_IN_ID).collect();
        let id: WorkerId = format!("{upstream}-{}", worker.code).parse()?;
        let [team, contractor, trade] = [UNKNOWN; 3].map(str::to_owned);
        let person = Person { id, name: worker.name.clone(), team, contractor, trade };
        let mut enroll = Enroll::new(person, IdType::Resident, worker.id_number.clone());
        (enroll.if_known, enroll.confirmed) = (IfKnown::Refuse, true);
        let source = Source::Afar { photos: Vec::new(), trusted: false };
        self.enroll(source, &mut DryRuns::default(), enroll, by.clone()).await.map(drop)
    }
}
