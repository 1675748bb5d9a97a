//! The types of what a connection has under way.

use futures_util::future::BoxFuture;

use crate::uplink::{client::Message, profiles};

/// A message other than a row, which waits for room in the client.
pub enum Later {
    Receipt(Box<Message>),
    Reply(profiles::Message),
}

/// Records of a database that was set aside, and the progress to note after them.
pub type Answer = BoxFuture<'static, (Box<Message>, Option<Vec<u8>>)>;
