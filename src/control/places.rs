//! Decides who gets one of the places at the socket. Pure except for its lock.
//!
//! In: a user and the user's rank. Out: a [`Place`], or the reason why there is none. No user can
//! take all places. Some places are kept for those who may change things, and some for root.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Maximum number of concurrent clients.
const CONNECTIONS: usize = 16;
/// Maximum number of concurrent clients of one user, except root and the daemon's own user.
const OF_USER: usize = 6;
/// Maximum number of concurrent clients of all users who may only look.
const OF_READERS: usize = 10;
/// Maximum number of concurrent clients of all users but root and the daemon's own user.
const OF_USERS: usize = 14;

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// Only look.
    Reader,
    /// Change things.
    Admin,
    /// Root, or the daemon's own user.
    Root,
}

/// The clients at the socket.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<Mutex<Vec<(u32, Rank)>>>);

/// A place at the socket. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    user: u32,
}

impl Places {
    /// Takes a place for a client of this user. Returns why there is none.
    pub(super) fn take(&self, user: u32, rank: Rank) -> Result<Place, String> {
        let mut taken = self.lock();
        let count = |of: &dyn Fn(&(u32, Rank)) -> bool| taken.iter().filter(|t| of(t)).count();
        let own = count(&|(other, _)| *other == user);
        if rank != Rank::Root && own >= OF_USER {
            return Err(format!(
                "you have {own} connections to the daemon already, the maximum: end one of them"
            ));
        }
        let readers = count(&|(_, rank)| *rank == Rank::Reader);
        let users = count(&|(_, rank)| *rank != Rank::Root);
        let full = match rank {
            Rank::Reader => readers >= OF_READERS || users >= OF_USERS,
            Rank::Admin => users >= OF_USERS,
            Rank::Root => false,
        };
        if full || taken.len() >= CONNECTIONS {
            let others = taken.len();
            return Err(format!("the daemon is busy with {others} clients: try again later"));
        }
        taken.push((user, rank));
        Ok(Place { places: self.clone(), user })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u32, Rank)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(at) = taken.iter().position(|(user, _)| *user == self.user) {
            taken.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_crowd_of_clients_takes_the_places_of_those_who_may_do_more() {
        let places = Places::default();
        let mut held = Vec::new();
        for user in 1000..1100 {
            let got: Vec<_> = std::iter::from_fn(|| places.take(user, Rank::Reader).ok()).collect();
            assert!(got.len() <= OF_USER);
            held.extend(got);
        }
        assert_eq!(held.len(), OF_READERS);
        for user in 2000..2100 {
            held.extend(std::iter::from_fn(|| places.take(user, Rank::Admin).ok()));
        }
        assert_eq!(held.len(), OF_USERS);
        let refused = places.take(1, Rank::Admin).unwrap_err();
        assert!(refused.contains("busy with 14 clients"), "{refused}");
        held.extend(std::iter::from_fn(|| places.take(0, Rank::Root).ok()));
        assert_eq!(held.len(), CONNECTIONS);
        // A place that becomes free is free for the next client.
        drop(held);
        let six: Vec<_> = std::iter::from_fn(|| places.take(1, Rank::Admin).ok()).collect();
        assert_eq!(six.len(), OF_USER);
        assert!(places.take(1, Rank::Admin).unwrap_err().contains("you have 6 connections"));
        places.take(2, Rank::Reader).unwrap();
    }
}
