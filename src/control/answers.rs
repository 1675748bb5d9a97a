//! Answers requests: sends a service's typed result in frames.

use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{
    pace::Pace,
    protocol::{AuditProgress, PackageSent, PhotoShown, Piece, Reply, Request},
    wire::{PIECE, Wire, WireError},
};
use crate::{
    ledger::{AccessWhat, Actor},
    services::{Ask, DryRuns, Failure, HINTS, PAGE, PassagePhoto, Services, Source, WaitingItem},
    status,
};

/// The reason for which there is no result.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error(transparent)]
    Refused(#[from] Failure),
    /// The connection failed, so no answer can be sent.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// The last reply of a list.
#[derive(Serialize)]
struct Counted {
    count: usize,
}

/// The connection of one client.
pub(super) struct Connection<'a> {
    pub(super) services: &'a Services,
    pub(super) wire: Wire,
    pub(super) pace: Pace<'a>,
    pub(super) by: Actor,
    pub(super) dry: DryRuns,
}

impl Connection<'_> {
    /// Carries out a request and sends its result. An error is an error of the connection.
    pub(super) async fn answer(&mut self, request: Request) -> Result<(), WireError> {
        match self.carry_out(request).await {
            Ok(()) => Ok(()),
            Err(AnswerError::Refused(failure)) => self.send(&Reply::<()>::Error(failure)).await,
            Err(AnswerError::Wire(e)) => Err(e),
        }
    }

    pub(super) async fn send(&mut self, reply: &Reply<impl Serialize>) -> Result<(), WireError> {
        let bytes = self.pace.within(self.wire.send_json(reply)).await?;
        self.pace.moved(bytes);
        Ok(())
    }

    async fn items(
        &mut self,
        items: impl IntoIterator<Item = impl Serialize>,
    ) -> Result<(), WireError> {
        for item in items {
            self.send(&Reply::Item(item)).await?;
        }
        Ok(())
    }

    /// Sends bytes in pieces. The frame has two hexadecimal digits for each byte.
    async fn pieces(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        for piece in bytes.chunks(PIECE) {
            self.send(&Reply::Item(Piece { hex: hex::encode(piece) })).await?;
        }
        Ok(())
    }

    async fn done(&mut self, done: impl Serialize) -> Result<(), AnswerError> {
        Ok(self.send(&Reply::Done(done)).await?)
    }

    async fn carry_out(&mut self, request: Request) -> Result<(), AnswerError> {
        let (services, by) = (self.services, self.by.clone());
        if request.changes() {
            services.may_change(&by)?;
        }
        match request {
            Request::Status => self.done(status::gather(services).await).await,
            Request::Site => self.done(&services.site).await,
            Request::Enroll(enroll) => {
                let (client, asked) = mpsc::channel(HINTS);
                let mut dry = std::mem::take(&mut self.dry);
                let work = services.enroll(Source::Client(client), &mut dry, *enroll, by);
                let enrolled = self.answer_questions(asked, work).await;
                self.dry = dry;
                self.done(enrolled?).await
            }
            Request::Update(update) => {
                let (client, asked) = mpsc::channel(HINTS);
                let work = services.update(Source::Client(client), *update, by);
                let updated = self.answer_questions(asked, work).await?;
                self.done(updated).await
            }
            Request::SetState(set_state) => {
                self.done(services.set_state(set_state, by).await?).await
            }
            Request::ChangeCard(change) => self.done(services.change_card(change, by).await?).await,
            Request::MakeCode(asked) => self.done(services.make_code(asked, by).await?).await,
            Request::Cards { id } => self.done(services.cards(id).await?).await,
            Request::Remove(remove) => self.done(services.remove(remove, by).await?).await,
            Request::Exempt(asked) => self.done(services.exempt(asked, by).await?).await,
            Request::Consent(set) => self.done(services.set_consent(set, by).await?).await,
            Request::Workers(query) => {
                let (mut count, mut after) = (0, None);
                loop {
                    let page = services.workers(&query, after, PAGE).await?;
                    count += page.workers.len();
                    self.items(page.workers).await?;
                    after = page.next;
                    if after.is_none() {
                        return self.done(Counted { count }).await;
                    }
                }
            }
            Request::Worker { id } => self.done(services.worker(id, &by).await?).await,
            Request::History { id } => {
                let happened = services.history(id).await?;
                let count = happened.len();
                self.items(happened).await?;
                self.done(Counted { count }).await
            }
            Request::ConfirmRoster(confirm) => {
                self.done(services.confirm_roster(confirm, by).await?).await
            }
            Request::Waiting(query) => {
                let ids = services.waiting(&query).await?;
                let count = ids.len();
                for id in ids {
                    let items = services.waiting_for(&id, query.photos, &by).await;
                    match items {
                        Ok(items) => self.items(items).await?,
                        Err(failure) if query.ids.is_empty() => {
                            // A damaged worker, or one who was confirmed meanwhile.
                            self.items([WaitingItem::Unread { id, failure }]).await?;
                        }
                        Err(failure) => return Err(failure.into()),
                    }
                }
                self.done(Counted { count }).await
            }
            Request::Refused(query) => {
                let (mut count, mut after) = (0, 0);
                loop {
                    let page = services.refused_records(&query, after, PAGE).await?;
                    let Some(last) = page.last() else { break };
                    (count, after) = (count + page.len(), last.seq);
                    self.items(page).await?;
                }
                let mut after = (String::new(), 0);
                loop {
                    let page = services.refused_set_aside(&query, after, PAGE).await?;
                    let Some(last) = page.last() else {
                        return self.done(Counted { count }).await;
                    };
                    after = (last.set_aside.clone().unwrap_or_default(), last.seq);
                    count += page.len();
                    self.items(page).await?;
                }
            }
            Request::DismissRefused(query) => {
                self.done(services.dismiss_refused(query, by).await?).await
            }
            Request::RetryRefused(query) => self.done(services.retry_refused(query).await?).await,
            Request::Confirm(confirm) => self.done(services.confirm(confirm, by).await?).await,
            Request::Attendance(query) => {
                if query.export {
                    services.record_reading(AccessWhat::Attendance, &by).await;
                }
                let mut listing = services.attendance(query).await?;
                while let Some(records) = listing.next().await? {
                    self.items(records).await?;
                }
                self.done(&listing.extent).await
            }
            Request::Export(query) => {
                services.record_reading(AccessWhat::Attendance, &by).await;
                let mut export = services.export(query).await?;
                while let Some(lines) = export.next().await? {
                    self.pieces(&lines).await?;
                }
                self.done(&export.listing.extent).await
            }
            Request::PassagePhoto { of } => {
                let PassagePhoto { passage, jpeg } = services.passage_photo(of, &by).await?;
                self.pieces(&jpeg).await?;
                let sha256 = hex::encode(Sha256::digest(&jpeg));
                let (passage, bytes) = (passage.to_string(), jpeg.len());
                self.done(PhotoShown { passage, bytes, sha256 }).await
            }
            Request::Onsite { since } => {
                let on_site = services.onsite(since).await?;
                self.items(on_site.present).await?;
                self.done(on_site.done).await
            }
            Request::Supplement(addition) => {
                self.done(services.supplement(addition, by).await?).await
            }
            Request::Dispute(dispute) => self.done(services.dispute(dispute, by).await?).await,
            Request::Withdraw(withdraw) => self.done(services.withdraw(withdraw, by).await?).await,
            Request::Release(release) => {
                self.done(services.release(release, by, None).await?).await
            }
            Request::Mode(change) => self.done(services.mode(change, by).await?).await,
            Request::SigningKey => self.done(services.key().await?).await,
            Request::Head => self.done(services.head().await?).await,
            Request::Evidence(query) => {
                let package = services.evidence(query, &by).await?;
                self.pieces(&package.bytes).await?;
                let sha256 = hex::encode(Sha256::digest(&package.bytes));
                self.done(PackageSent { bytes: package.bytes.len(), sha256 }).await
            }
            Request::Health(query) => {
                let outages = services.health(query).await?;
                let count = outages.len();
                self.items(outages).await?;
                self.done(Counted { count }).await
            }
            Request::Audit => {
                let mut audit = services.audit().await?;
                while let Some(audited) = audit.next().await? {
                    self.send(&Reply::Item(AuditProgress { audited })).await?;
                }
                self.done(&audit.done).await
            }
            Request::Picture(query) => {
                let (shown, jpeg) = services.picture(&query).await?;
                self.pieces(&jpeg).await?;
                self.done(shown).await
            }
            Request::Watch(watch) => {
                let mut watching = services.watch(&watch)?;
                loop {
                    let next = tokio::select! {
                        next = watching.next() => next,
                        // A client sends nothing more, so this is its end.
                        said = self.wire.receive_json::<serde_json::Value>() => {
                            said?;
                            return Err(WireError::Malformed("a request while it watches".to_owned()).into());
                        }
                    };
                    match next {
                        Some(watched) => self.send(&Reply::Item(watched)).await?,
                        None => return self.done(serde_json::Value::Null).await,
                    }
                }
            }
        }
    }

    /// Sends the questions of the work to the client until the work is done. The work ends when the
    /// client disconnects.
    async fn answer_questions<T>(
        &mut self,
        mut asked: mpsc::Receiver<Ask>,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, AnswerError> {
        let ask = async {
            while let Some(ask) = asked.recv().await {
                match ask {
                    Ask::Hint(hint) => self.send(&Reply::Item(hint)).await?,
                    Ask::Photo { number, bytes, answer } => {
                        let photo = self.photo(number, bytes).await?;
                        // The work may have failed meanwhile.
                        let _ = answer.send(photo);
                    }
                }
            }
            Ok(())
        };
        let (done, ()) = tokio::try_join!(async { Ok::<_, WireError>(work.await) }, ask)?;
        Ok(done?)
    }

    /// Asks for one announced photo and receives it, piece by piece.
    async fn photo(&mut self, number: usize, size: usize) -> Result<Vec<u8>, WireError> {
        self.send(&Reply::<()>::Send(number)).await?;
        let mut bytes = Vec::with_capacity(size);
        while bytes.len() < size {
            let piece = self.pace.within(self.wire.receive_piece()).await?;
            self.pace.moved(piece.len());
            if piece.is_empty() || piece.len() > size - bytes.len() {
                return Err(WireError::Malformed("a photo's piece".to_owned()));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}
