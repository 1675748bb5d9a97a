//! Memory that is never written to a swap device, nor into a core dump: keys and templates.
//!
//! In: numbers, and values that live as long as the daemon. Out: the same in locked pages
//! (`mlock(2)`), as far as the limit of the process (`RLIMIT_MEMLOCK`) allows. What could not be
//! locked is used all the same, and is counted. Touches: the kernel's locks on the pages.

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    ops::Deref,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use zeroize::{DefaultIsZeroes, Zeroize};

/// Alignment of locked buffers: a page of most kernels. Their size is a multiple of it.
const PAGE: usize = 4096;

/// Bytes in use that could not be locked.
static UNLOCKED: AtomicU64 = AtomicU64::new(0);

/// Returns the number of bytes of keys and templates that could not be locked.
pub fn unlocked_bytes() -> u64 {
    UNLOCKED.load(Ordering::Relaxed)
}

/// Locks the pages of a value that lives as long as the daemon. They are never unlocked.
pub fn pin<T>(value: &T) {
    let bytes = size_of_val(value);
    if !lock(std::ptr::from_ref(value).cast(), bytes) {
        UNLOCKED.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Returns whether the pages are locked now.
fn lock(start: *const u8, bytes: usize) -> bool {
    // SAFETY: mlock changes no memory. It fails for a range that is not mapped.
    unsafe { libc::mlock(start.cast(), bytes) == 0 }
}

/// Forbids core dumps and debuggers of other processes of the same user.
pub fn forbid_dumps() {
    // SAFETY: these calls change settings of the process, and no memory. They cannot fail here: a
    // limit may always be lowered.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::setrlimit(libc::RLIMIT_CORE, &none);
    }
}

/// Numbers in pages of their own, which are locked. They are zeroised when they are dropped.
pub struct Numbers<T: DefaultIsZeroes = f32> {
    start: NonNull<T>,
    len: usize,
    /// Size in bytes; 0 without a buffer.
    bytes: usize,
    locked: bool,
}

// SAFETY: the buffer belongs to this value alone.
unsafe impl<T: DefaultIsZeroes + Send> Send for Numbers<T> {}
// SAFETY: as above. A shared reference only reads.
unsafe impl<T: DefaultIsZeroes + Sync> Sync for Numbers<T> {}

impl<T: DefaultIsZeroes> Default for Numbers<T> {
    fn default() -> Self {
        Numbers { start: NonNull::dangling(), len: 0, bytes: 0, locked: true }
    }
}

impl<T: DefaultIsZeroes> Numbers<T> {
    /// Returns an empty buffer with room for this number of values.
    pub fn with_capacity(values: usize) -> Self {
        let bytes = values.saturating_mul(size_of::<T>()).next_multiple_of(PAGE);
        let Ok(layout) = Layout::from_size_align(bytes, PAGE) else { return Numbers::default() };
        if bytes == 0 {
            return Numbers::default();
        }
        // SAFETY: the layout's size is not 0.
        let start = unsafe { alloc(layout) }.cast::<T>();
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        let locked = lock(start.as_ptr().cast(), bytes);
        if !locked {
            UNLOCKED.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        // SAFETY: the range is whole pages of this buffer. The advice changes no memory.
        unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_DONTDUMP) };
        Numbers { start, len: 0, bytes, locked }
    }

    /// Adds values. Beyond the capacity the buffer is replaced.
    pub fn extend_from_slice(&mut self, values: &[T]) {
        let len = self.len + values.len();
        if len * size_of::<T>() > self.bytes {
            let mut larger = Numbers::with_capacity(len * 2);
            larger.extend_from_slice(self);
            *self = larger;
        }
        // SAFETY: the buffer has room for `len` values, and `values` is no part of it, because this
        // reference to it is the only one.
        unsafe {
            let end = self.start.add(self.len);
            std::ptr::copy_nonoverlapping(values.as_ptr(), end.as_ptr(), values.len());
        }
        self.len = len;
    }
}

impl<T: DefaultIsZeroes> Deref for Numbers<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` values were written.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: DefaultIsZeroes> Drop for Numbers<T> {
    fn drop(&mut self) {
        let Ok(layout) = Layout::from_size_align(self.bytes, PAGE) else { return };
        if self.bytes == 0 {
            return;
        }
        // SAFETY: the first `len` values were written, and this is the only reference. The buffer was
        // allocated with this layout. Its pages hold nothing else, so they may be unlocked.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len).zeroize();
            libc::madvise(self.start.as_ptr().cast(), self.bytes, libc::MADV_DODUMP);
            libc::munlock(self.start.as_ptr().cast(), self.bytes);
            dealloc(self.start.as_ptr().cast(), layout);
        }
        if !self.locked {
            UNLOCKED.fetch_sub(self.bytes as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the bytes that this process has locked.
    fn locked() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    #[test]
    fn templates_are_in_locked_pages_or_counted() {
        let mut numbers = Numbers::with_capacity(3);
        let all: Vec<f32> = (0..5000_u16).map(f32::from).collect();
        for part in all.chunks(7) {
            numbers.extend_from_slice(part);
        }
        assert_eq!(*numbers, *all);
        assert!(if numbers.locked { locked() >= 20_000 } else { unlocked_bytes() >= 20_000 });
        assert!(Numbers::<f32>::default().is_empty());
        assert!(Numbers::<f32>::with_capacity(0).is_empty());
    }
}
