//! The types of what a connection has under way.

use futures_util::future::BoxFuture;

use crate::{
    attendance::{Leaf, Origin},
    ledger::{LedgerId, Stored},
    uplink::{
        Profile,
        client::Message,
        delivery::{Fetch, Page},
        link::LinkError,
        profiles,
    },
};

/// A row as it is published.
pub struct Row {
    pub message: profiles::Message,
    pub resent: bool,
    /// What a stub in its place tells: the ledger, the seq, and the leaf.
    pub known: (LedgerId, u64, Leaf),
}

impl Row {
    /// Makes the row of an entry with a seq; `None` for an entry that is not sent. The message is
    /// `None` if it is not for this platform.
    pub fn make(
        profile: &dyn Profile,
        origin: &Origin,
        stored: &Stored,
        cause: Option<Stored>,
        resent: bool,
    ) -> Option<Result<(u64, Option<Row>), serde_json::Error>> {
        let seq = stored.entry.seq?;
        let made = profiles::message(profile, origin, stored, cause, resent)?;
        let known = || (stored.entry.ledger, seq, Leaf::from(stored));
        let row = |message| Row { message, resent, known: known() };
        Some(made.map(|message| (seq, message.map(row))))
    }
}

/// The numbers of rows that were struck off, and of those that stand aside now.
pub struct Struck {
    pub acknowledged: u64,
    pub left_out: u64,
    pub withheld: Option<u64>,
}

/// A message other than a row, which waits for room in the client.
pub enum Later {
    Receipt(Box<Message>),
    Reply(profiles::Message),
}

pub type PageRead = BoxFuture<'static, Result<(Fetch, Page<Row>), LinkError>>;
/// Records of a database that was set aside, and the progress to note after them.
pub type EarlierRead = BoxFuture<'static, Result<Option<(Vec<Row>, (String, u64))>, LinkError>>;
pub type Striking = BoxFuture<'static, Result<Struck, LinkError>>;
pub type Answer = BoxFuture<'static, (Box<Message>, Option<Vec<u8>>)>;
