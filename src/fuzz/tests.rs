//! Runs the fuzz targets on the seeds of `fuzz/run`: its first inputs and its findings.

use std::{fs, path::Path};

use proptest::prelude::*;

/// Runs a target on each file of its folder.
fn feed(target: &str, read: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let seeds: Vec<_> = fs::read_dir(&folder).unwrap().map(|seed| seed.unwrap().path()).collect();
    assert!(!seeds.is_empty(), "{} is empty", folder.display());
    for seed in seeds {
        println!("{}", seed.display());
        read(&fs::read(seed).unwrap());
    }
}

macro_rules! seeds {
    ($($target:ident)+) => { $(#[test] fn $target() { feed(stringify!($target), super::$target); })+ };
}

seeds! { entry camera command mjpeg turnstile roster frames photo tcp843 national terminal reader }

proptest! {
    #[test]
    fn any_bytes_of_platforms_and_readers_are_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        super::tcp843(&bytes);
        super::national(&bytes);
        super::terminal(&bytes);
        super::reader(&bytes);
    }
}
