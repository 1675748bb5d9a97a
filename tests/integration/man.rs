//! The man pages in `docs/man`, which the package installs, agree with the program.
//!
//! `GATEHOUSE_MAN=write tests/run --test integration man::` writes them again.

use std::{collections::BTreeMap, fs, path::Path};

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

/// Sections of the manual: administration commands, and file formats.
const COMMANDS: &str = "8";
const FILES: &str = "5";

/// Adds the pages of a command and its subcommands, by file name.
fn commands(command: Command, pages: &mut BTreeMap<String, Vec<u8>>) {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    for below in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        commands(below.clone(), pages);
    }
    let mut page = Vec::new();
    Man::new(command).section(COMMANDS).title(&name).render(&mut page).unwrap();
    pages.insert(format!("{name}.{COMMANDS}"), page);
}

/// Returns the page of the configuration, which contains the commented file unchanged.
fn configuration(text: &str) -> Vec<u8> {
    let mut page = Roff::new();
    page.control("TH", ["gatehouse.toml", FILES]);
    page.control("SH", ["NAME"]).text([roman("gatehouse.toml - the configuration of a gate")]);
    page.control("SH", ["DESCRIPTION"]).control("nf", []);
    page.text([roman(text)]).control("fi", []);
    page.control("SH", ["SEE ALSO"]).text([roman("gatehouse(8), gatehouse-check(8)")]);
    page.to_roff().into_bytes()
}

#[test]
fn the_man_pages_agree_with_the_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("docs/man");
    // The packages are built without the demo.
    let mut command = gatehouse::cli::command().mut_subcommand("demo", |demo| demo.hide(true));
    command.build();
    let mut pages = BTreeMap::new();
    commands(command, &mut pages);
    let text = fs::read_to_string(root.join("config/gatehouse.toml")).unwrap();
    pages.insert(format!("gatehouse.toml.{FILES}"), configuration(&text));
    if std::env::var_os("GATEHOUSE_MAN").is_some() {
        fs::remove_dir_all(&folder).unwrap_or_default();
        fs::create_dir(&folder).unwrap();
        pages.iter().for_each(|(name, page)| fs::write(folder.join(name), page).unwrap());
    }
    let found = fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path());
    let found: BTreeMap<String, Vec<u8>> = found
        .map(|f| (f.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&f).unwrap()))
        .collect();
    assert!(pages.len() > 20 && pages.contains_key("gatehouse-worker-enroll.8"));
    for name in pages.keys().chain(found.keys()) {
        let same = found.get(name) == pages.get(name);
        assert!(same, "docs/man/{name} is out of date: see tests/integration/man.rs");
    }
}
