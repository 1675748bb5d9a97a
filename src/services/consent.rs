//! Records the consents that workers give and withdraw, by purpose.
//!
//! A withdrawal counts at once and is always possible. A consent that was recorded here is changed
//! only here, by a person at the gateway: an import or a platform's command cannot end a
//! withdrawal.

use clap::Args;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Failure, Services, asked::Asked, dates, refusal::Refusal};
use crate::{
    failpoint,
    ledger::{Actor, ConsentChange, ConsentWhat},
    roster::{self, Consent, Erased, Identity, Purpose, Terms, Worker, WorkerId, checked_text},
    store::Priority,
    words::day,
};

/// A request to record a consent that was given or withdrawn.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct SetConsent {
    /// The worker's id
    pub id: WorkerId,
    /// What the worker consents to. face: this gateway keeps templates and photos. photo:UPSTREAM:
    /// photos go to that upstream
    #[arg(long)]
    pub purpose: Purpose,
    /// When the worker signed the form
    #[arg(long, value_name = "DATE", value_parser = day, requires = "form")]
    #[arg(required_unless_present = "withdrawn", conflicts_with = "withdrawn")]
    pub given: Option<Date>,
    /// Number of the signed form
    #[arg(long, value_name = "FORM-NUMBER", requires = "given")]
    pub form: Option<String>,
    /// When the worker withdrew the consent. Of the face: templates and photos are erased at once,
    /// and a guard must release the turnstile for this worker
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub withdrawn: Option<Date>,
    /// Accept a date that looks mistyped
    #[arg(long = "yes")]
    #[serde(default)]
    pub confirmed: bool,
    /// The request is checked, and nothing is changed.
    #[arg(skip)]
    #[serde(default)]
    pub dry_run: bool,
}

/// The result: the consent after the change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConsentSet {
    /// The worker's id.
    pub id: WorkerId,
    /// The consent.
    #[serde(flatten)]
    pub consent: Consent,
    /// The numbers of templates and photos that were erased.
    #[serde(flatten)]
    pub erased: Option<Erased>,
}

impl Services {
    /// Records that a worker gave or withdrew a consent. A withdrawn consent to the face erases
    /// templates and photos; the worker stays on the roster (I7).
    pub async fn set_consent(&self, asked: SetConsent, by: Actor) -> Result<ConsentSet, Failure> {
        let SetConsent { id, purpose, given, form, withdrawn, confirmed, dry_run } = asked;
        let form = form.map(|form| checked_text("form", &form, 64)).transpose()?;
        let change = match (given, form, withdrawn) {
            (Some(on), Some(form), None) => Change::Given { form, on },
            (None, None, Some(on)) => Change::Withdrawn { on },
            _ => return Err(Refusal::GivenOrWithdrawn.into()),
        };
        let stamp = self.clock.stamp();
        let today = stamp.timestamp().to_zoned(self.origin.timezone.clone()).date();
        let (field, on) = change.day();
        dates::past(field, on, today, stamp.synced, confirmed)?;
        let upstreams: Vec<String> =
            self.upstreams.iter().map(|link| link.state.borrow().name.clone()).collect();

        let changing = self.changing.lock().await;
        let (worker, _) = self.on_roster(&id).await?;
        let consent = next(&worker, &purpose, change, confirmed, &upstreams)?;
        if dry_run {
            return Ok(ConsentSet { id, consent, erased: None });
        }
        let (of, to) = (id.clone(), consent.clone());
        let change = self.change(&changing, id.clone(), Priority::Upkeep, move |tx| {
            let (what, erased) = match (to.withdrawn_on, &to.form, to.given_on) {
                (None, Some(form), Some(on)) => {
                    roster::give(tx, &of, &to.purpose, form, on)?;
                    (ConsentWhat::Given, None)
                }
                _ => (ConsentWhat::Withdrawn, roster::withdraw(tx, &of, &to, on)?),
            };
            let Consent { purpose, form, .. } = to;
            Ok((ConsentChange { worker: of, purpose, what, on, form, erased, by }.into(), erased))
        });
        let erased = change.await?;
        drop(changing);
        if erased.is_some() {
            self.empty_log(&id).await;
            failpoint::at("consent.emptied");
            self.photo_store.tidy().await;
            self.erase_set_aside().await;
        }
        Ok(ConsentSet { id, consent, erased })
    }

    /// Returns the withdrawal of a person who is enrolled again under another id. Refuses a face,
    /// or a consent to it, after the withdrawal.
    pub(super) async fn withdrawn_by(
        &self,
        id: &WorkerId,
        identity: &Identity,
        wants_face: bool,
        asked: Asked,
    ) -> Result<Option<Consent>, Failure> {
        let (sealer, identity) = (self.store.sealer().clone(), identity.clone());
        let read = self.store.read(move |tx| roster::withdrawn_by(tx, &sealer, &identity));
        let withdrawn = read.await?;
        match withdrawn.as_ref().and_then(|consent| consent.withdrawn_on) {
            Some(on) if wants_face => {
                Err(Refusal::FaceWithdrawn { id: id.clone(), on, asked }.into())
            }
            _ => Ok(withdrawn),
        }
    }
}

enum Change {
    Given { form: String, on: Date },
    Withdrawn { on: Date },
}

impl Change {
    /// Returns the field and its date.
    fn day(&self) -> (&'static str, Date) {
        match self {
            Change::Given { on, .. } => ("given", *on),
            Change::Withdrawn { on } => ("withdrawn", *on),
        }
    }
}

/// Returns a consent after a change of it.
fn next(
    worker: &Worker,
    purpose: &Purpose,
    change: Change,
    confirmed: bool,
    upstreams: &[String],
) -> Result<Consent, Failure> {
    let Terms { consent: form, consent_on: given_on, .. } = worker.terms.clone();
    let of_the_terms = || match purpose {
        Purpose::Face if form.is_some() => {
            Some(Consent { purpose: Purpose::Face, form, given_on, withdrawn_on: None })
        }
        _ => None,
    };
    let now = worker.consent(purpose).cloned().or_else(of_the_terms);
    let must_exist = || match purpose {
        Purpose::Photo(name) if !upstreams.contains(name) => {
            let (name, upstreams) = (name.clone(), upstreams.to_vec());
            Err(Refusal::NoSuchUpstream { name, upstreams, argument: Some("purpose") })
        }
        _ => Ok(()),
    };
    match change {
        Change::Given { form, on } => {
            must_exist()?;
            let after = Consent {
                purpose: purpose.clone(),
                form: Some(form),
                given_on: Some(on),
                withdrawn_on: None,
            };
            match now.as_ref().and_then(|now| now.withdrawn_on) {
                Some(withdrawn_on) if on < withdrawn_on => {
                    Err(Refusal::FormBeforeWithdrawal { on, withdrawn_on }.into())
                }
                Some(withdrawn_on) if now.as_ref().is_some_and(|now| now.form == after.form) => {
                    Err(Refusal::FormWithdrawn { withdrawn_on }.into())
                }
                // A consent that came with an enrolment is not recorded here yet.
                None if worker.consent(purpose) == Some(&after) => {
                    Err(Refusal::ConsentKnown.into())
                }
                _ => {
                    let recorded = worker.consent(purpose).and_then(|consent| consent.given_on);
                    match recorded.filter(|given_on| on < *given_on && !confirmed) {
                        Some(given_on) => Err(Refusal::FormBeforeForm { on, given_on }.into()),
                        None => Ok(after),
                    }
                }
            }
        }
        Change::Withdrawn { on } => {
            let Some(now) = now else {
                must_exist()?;
                let (purpose, withdrawn_on) = (purpose.clone(), Some(on));
                return Ok(Consent { purpose, form: None, given_on: None, withdrawn_on });
            };
            if now.withdrawn_on == Some(on) {
                return Err(Refusal::WithdrawalKnown.into());
            }
            // The date may be right, and the one of the form wrong.
            if let Some(given_on) = now.given_on.filter(|given| on < *given && !confirmed) {
                return Err(Refusal::WithdrawnBeforeGiven { on, given_on }.into());
            }
            Ok(Consent { withdrawn_on: Some(on), ..now })
        }
    }
}

/// Refuses photos after the consent to the face was withdrawn, and other papers in place of those
/// that [`Services::set_consent`] has recorded.
pub(super) fn by_recorded_consent(
    worker: &Worker,
    wants_face: bool,
    terms: &Terms,
    asked: Asked,
) -> Result<(), Refusal> {
    let Some(face) = worker.consent(&Purpose::Face) else { return Ok(()) };
    let papers = |terms: &Terms| (terms.consent.clone(), terms.consent_on);
    let other = papers(terms) != papers(&worker.terms);
    let id = worker.person.id.clone();
    match face.withdrawn_on {
        Some(on) if wants_face || other => Err(Refusal::FaceWithdrawn { id, on, asked }),
        None if other => Err(Refusal::ConsentRecorded { id, asked }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
