//! Gives a worker the cards and records the consents to photos of a row, after the enrolment. A dry run
//! asks the daemon whether it would.

use anyhow::bail;

use super::Stopped;
use crate::{
    control::{Client, ClientError, Request},
    roster::{
        CardChange, Purpose, Worker,
        import::{Candidate, PhotoConsent, Row},
    },
    services::{CardChanged, ChangeCard, Code, ConsentSet, EnrollResult, SetConsent},
    status::Status,
};

/// The upstreams that consents may be for.
pub(super) struct Papers {
    pub(super) dry_run: bool,
    upstreams: Vec<String>,
}

/// What was given, and what was refused, in words.
type Given = (Vec<String>, Vec<String>);

impl Papers {
    /// Finds the upstream of each column of consents. Fails if one names none, or an unknown one.
    pub(super) async fn prepare(
        client: &mut Client,
        rows: &[Row],
        dry_run: bool,
    ) -> anyhow::Result<Papers> {
        let mut papers = Papers { dry_run, upstreams: Vec::new() };
        let candidates = rows.iter().filter_map(|row| row.candidate.as_ref().ok());
        let mut consents = candidates.flat_map(|candidate| &candidate.photo_consents).peekable();
        if consents.peek().is_none() {
            return Ok(papers);
        }
        let status: Status = client.ask(&Request::Status).await?;
        papers.upstreams = status.upstreams.into_iter().map(|u| u.link.name).collect();
        for consent in consents {
            if papers.upstream(consent).is_none() {
                let (heading, all) = (&consent.heading, papers.upstreams.join(", "));
                if all.is_empty() {
                    bail!(
                        "this gateway has no upstream, to which photos could go: take the column \
                         {heading} out of the sheet"
                    );
                }
                bail!(
                    "the column {heading} must name one upstream in brackets, to which the photos go: \
                     {all}"
                );
            }
        }
        Ok(papers)
    }

    fn upstream(&self, consent: &PhotoConsent) -> Option<&String> {
        match (&consent.upstream, &*self.upstreams) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(name), all) => all.iter().find(|known| known.to_lowercase() == *name),
        }
    }

    /// Gives what a row has besides. What the worker has already needs no word.
    pub(super) async fn give(
        &self,
        client: &mut Client,
        candidate: &Candidate,
        worker: &Worker,
        result: EnrollResult,
    ) -> Result<Given, Stopped> {
        let (mut given, mut refused) = (Vec::new(), Vec::new());
        let id = &candidate.person.id;
        for number in &candidate.cards {
            let change = ChangeCard {
                id: id.clone(),
                number: number.clone(),
                change: CardChange::Added,
                dry_run_after: self.dry_run.then_some(given.len()),
            };
            let not =
                if self.dry_run { "a card would not be given" } else { "a card was not given" };
            match client.ask::<CardChanged>(&Request::ChangeCard(change)).await {
                Ok(CardChanged { number, taken_as, .. }) => {
                    given.push(format!("card {number}, taken as {taken_as}"));
                }
                Err(ClientError::Refused(failure)) if failure.code == Code::Unchanged => {}
                Err(ClientError::Refused(failure)) => refused.push(format!("{not}: {failure}")),
                Err(lost) => return Err(Stopped::Lost(lost)),
            }
        }
        for consent in &candidate.photo_consents {
            let Some(name) = self.upstream(consent) else { continue };
            let purpose = Purpose::Photo(name.clone());
            if !consent.given {
                if worker.consent(&purpose).is_some_and(|consent| consent.is_in_force()) {
                    refused.push(format!(
                        "{}: no, and the roster has a consent: a withdrawal is recorded by `gatehouse \
                         worker consent {id} --purpose {purpose} --withdrawn DATE`",
                        consent.heading
                    ));
                }
                continue;
            }
            // A dry run has not enrolled a new worker, who has nothing that could be in the way.
            if self.dry_run && result == EnrollResult::Enrolled {
                continue;
            }
            let set = SetConsent {
                id: id.clone(),
                purpose,
                given: candidate.terms.consent_on,
                form: candidate.terms.consent.clone(),
                withdrawn: None,
                confirmed: false,
                dry_run: self.dry_run,
            };
            match client.ask::<ConsentSet>(&Request::Consent(set)).await {
                Ok(_) => given.push(format!("photos may go to {name}")),
                Err(ClientError::Refused(failure)) if failure.code == Code::Unchanged => {}
                Err(ClientError::Refused(failure)) => {
                    refused.push(format!("{}: {failure}", consent.heading));
                }
                Err(lost) => return Err(Stopped::Lost(lost)),
            }
        }
        Ok((given, refused))
    }
}
