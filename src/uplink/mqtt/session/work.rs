//! The types of what a connection has under way.

use futures_util::future::BoxFuture;

use crate::uplink::{client::Message, link::LinkError, profiles, rows::Row};

/// A message other than a row, which waits for room in the client.
pub enum Later {
    Receipt(Box<Message>),
    Reply(profiles::Message),
}

/// Records of a database that was set aside, and the progress to note after them.
pub type EarlierRead = BoxFuture<'static, Result<Option<(Vec<Row>, (String, u64))>, LinkError>>;
pub type Answer = BoxFuture<'static, (Box<Message>, Option<Vec<u8>>)>;
