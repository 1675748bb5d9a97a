//! Compiles the C sources of `tests/peers` for preloading.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

/// Returns the library from `tests/peers/NAME.c`, which is compiled once for each test program.
pub fn shim(name: &'static str) -> PathBuf {
    static MADE: Mutex<Option<HashMap<&str, PathBuf>>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    made.get_or_insert_default().entry(name).or_insert_with(|| compile(name)).clone()
}

fn compile(name: &str) -> PathBuf {
    let source = format!("{}/tests/peers/{name}.c", env!("CARGO_MANIFEST_DIR"));
    let file = format!("{name}-{}.so", std::process::id());
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&made).arg(source);
    let compiled = compiler.arg("-ldl").output();
    let said = compiled.unwrap_or_else(|e| panic!("cannot run cc: {e}; run tests/run"));
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    // All test programs use one name, so that old files do not pile up. The last one replaces the
    // others with the same content.
    let named = made.with_file_name(format!("{name}.so"));
    std::fs::rename(&made, &named).unwrap();
    named
}
