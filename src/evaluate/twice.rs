//! One person in the folders of two: the same photo filed twice, or two names of one person. Each such
//! photo counts as a stranger who is taken for a worker, and so it spoils the rates.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{People, Photo};
use crate::vision::Template;

/// Minimum cosine of two photos of one person in two folders. Copies that were compressed again have
/// 0.92 to 1.00, and different photos of one person up to 0.98. Strangers have less than 0.6.
const SAME: f32 = 0.9;
/// Number of a template's values that are compared first. Most pairs differ enough in them.
const FIRST: usize = 32;

/// A photo: its person and its number among that person's photos.
pub type Place = (usize, usize);

/// Returns each photo that is like a photo in the folder of an earlier person, with the first such
/// photo.
pub fn twice(people: &People) -> Vec<[Place; 2]> {
    let photos: Vec<(Place, &Photo)> = (0..)
        .zip(people)
        .flat_map(|(person, photos)| (0..).zip(photos).map(move |(n, p)| ((person, n), p)))
        .collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        while let Some((place, photo)) = photos.get(next.fetch_add(1, Ordering::Relaxed)) {
            let earlier = photos.iter().take_while(|((person, _), _)| *person < place.0);
            let mut same = earlier.filter(|(_, other)| is_same(other, photo));
            found.extend(same.next().map(|(first, _)| [*first, *place]));
        }
        found
    };
    let mut found: Vec<_> = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, |n| n.get());
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        // A panic of a thread goes on here.
        let joined = |t: thread::ScopedJoinHandle<'_, Vec<_>>| {
            t.join().unwrap_or_else(|p| std::panic::resume_unwind(p))
        };
        threads.into_iter().flat_map(joined).collect()
    });
    found.sort_unstable();
    found
}

fn is_same(a: &Photo, b: &Photo) -> bool {
    let alike = |a: &Option<Template>, b: &Option<Template>| {
        let (Some(a), Some(b)) = (a, b) else { return false };
        // The square of the distance of two unit vectors is 2 - 2 cosine.
        apart(a.as_slice(), b.as_slice()) <= 2.0 - 2.0 * SAME && a.cosine(b) >= SAME
    };
    alike(&a.seen, &b.seen) || alike(&a.enrolled, &b.enrolled)
}

/// Returns the square of the distance in the first values, as eight partial sums that the compiler
/// makes vector instructions of.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)).take(FIRST / 8) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += (a - b) * (a - b);
        }
    }
    sums.iter().sum()
}
