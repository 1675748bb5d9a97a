//! The types of what a connection has under way.

use futures_util::future::BoxFuture;

use crate::uplink::{
    client::Message,
    delivery::{Fetch, Page},
    link::LinkError,
    profiles,
};

/// A row as it is published.
pub struct Row {
    pub message: profiles::Message,
    pub resent: bool,
}

/// The numbers of rows that were struck off.
pub struct Struck {
    pub acknowledged: u64,
    pub left_out: u64,
}

/// A message other than a row, which waits for room in the client.
pub enum Later {
    Receipt(Box<Message>),
    Reply(profiles::Message),
}

pub type PageRead = BoxFuture<'static, Result<(Fetch, Page<Row>), LinkError>>;
/// Messages of a database that was set aside, and the progress to note after them.
pub type EarlierRead =
    BoxFuture<'static, Result<Option<(Vec<profiles::Message>, (String, u64))>, LinkError>>;
pub type Striking = BoxFuture<'static, Result<Struck, LinkError>>;
pub type Answer = BoxFuture<'static, (Box<Message>, Option<Vec<u8>>)>;
