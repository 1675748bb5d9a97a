//! Runs the commands of README.md and docs/ as they are written.
//!
//! A session is a shell, a folder and the files that the commands need. Each block of commands (`sh`) runs in
//! one session, in the order of the page. Marks say which; a block without a mark runs in the session
//! "gate". A mark is a comment directly before the block, one a line:
//!
//! | Mark | |
//! |---|---|
//! | `<!-- run: SESSION -->` | the block's session |
//! | `<!-- not run: REASON -->` | the block does not run; REASON names what covers it |
//! | `<!-- stays: TEXT -->` | the block stays in the background; the next one starts when it has printed TEXT |
//! | `<!-- wait: TEXT -->` | the block starts when the one in the background has printed TEXT |
//! | `<!-- expect: TEXT -->` | the block prints TEXT, after the text of the mark before |
//! | `<!-- printed above -->` | a JSON block: each line that the block of commands before it prints |
//!
//! `session::SUBSTITUTED`, `docs/preamble.sh` and `docs/gatehouse` hold every difference from what is written,
//! with its reason.

mod bounds;
mod page;
mod session;

use std::{collections::BTreeSet, fs, os::unix::fs::symlink, path::Path};

use crate::common::{
    Broker, Camera, Configuration, Daemon, Lane, Site, Subscriber, broker::free_port, photo,
    photo_path, shipped,
};
use clap::error::ErrorKind;
use gatehouse::config::Config;
use page::{Block, Page};
use rust_xlsxwriter::Workbook;
use serde_json::Value;
use session::Session;
use yaml_rust2::YamlLoader;

/// The session of a block without a mark.
const USUAL: &str = "gate";
/// The sessions; each has a test below.
const SESSIONS: [&str; 7] =
    ["checkout", "bench", USUAL, "gate-2", "platform", "device", "device with its key apart"];

fn session_of(block: &Block) -> Option<&str> {
    (block.language == "sh" && block.value("not run").is_none())
        .then(|| block.value("run").unwrap_or(USUAL))
}

/// Runs every block of this session.
fn run(name: &str, session: &Session) {
    let pages = page::all();
    let mut blocks: Vec<(&Block, Option<&Block>)> = Vec::new();
    for page in &pages {
        let mut shows = false;
        for block in &page.blocks {
            let here = session_of(block) == Some(name);
            if here {
                blocks.push((block, None));
            } else if let Some(last) = blocks.last_mut().filter(|_| shows)
                && block.value("printed above").is_some()
            {
                last.1 = Some(block);
            }
            shows = here;
        }
    }
    session.run(&blocks);
}

/// Makes a folder like a clean clone, with the program where cargo puts it.
fn checkout() -> (tempfile::TempDir, Session) {
    let folder = tempfile::tempdir().unwrap();
    let (root, here) = (Path::new(env!("CARGO_MANIFEST_DIR")), folder.path());
    for made in ["config", "target/release"] {
        fs::create_dir_all(here.join(made)).unwrap();
    }
    let broker = format!("mqtt://127.0.0.1:{}", free_port());
    let files = fs::read_dir(root.join("config")).unwrap().map(Result::unwrap);
    for file in files.filter(|file| file.path().is_file()) {
        // The usual port may belong to a broker of this machine.
        let text =
            fs::read_to_string(file.path()).unwrap().replace("mqtt://127.0.0.1:1883", &broker);
        fs::write(here.join("config").join(file.file_name()), text).unwrap();
    }
    symlink(root.join("models"), here.join("models")).unwrap();
    let session = Session::new(here);
    symlink("../../bin/gatehouse", here.join("target/release/gatehouse")).unwrap();
    (folder, session)
}

#[test]
#[cfg(feature = "demo")]
fn the_commands_of_see_it_work() {
    let (_folder, session) = checkout();
    run("checkout", &session);
}

#[test]
fn the_commands_of_the_bench_gate_work() {
    let (_folder, session) = checkout();
    run("bench", &session);
}

/// Prepares a site with a lane whose simulated turnstile reports a passage after each release.
fn with_a_lane() -> Site {
    let lane = Lane::simulated("north").turnstile("pass_after_ms", 300);
    let lane = lane.camera("entry", "replay:camera").camera("exit", "replay:exit");
    Site::with(|c| c.bench().lane(lane))
}

/// The fields are dropped in this order.
struct Gate {
    _daemon: Daemon,
    _platform: Subscriber,
    _cameras: [Camera; 2],
    session: Session,
    site: Site,
}

/// Starts a gate. Person B stands before its entry, person A before its exit.
fn gate(id: &str) -> Gate {
    gate_with(|c| c.set("site", "gateway_id", id))
}

fn gate_with(change: impl FnOnce(Configuration) -> Configuration) -> Gate {
    let mut site = with_a_lane();
    site.configure(change);
    site.broker.start();
    let platform = site.broker.subscriber();
    let cameras = ["camera", "exit"].map(|pipe| Camera::plug_in(&site.path(pipe)));
    cameras[0].show(photo("person_b_1.jpg"));
    cameras[1].show(photo("person_a_1.jpg"));
    let mut session = Session::new(&site.path(""));
    session.set("GATEHOUSE_CONFIG", site.path("gatehouse.toml"));
    session.broker_at(site.broker.port);
    let daemon = site.start_with(&session.clock().environment());
    site.status_when("a healthy gate", |s| Site::degraded(s).is_empty());
    Gate { _daemon: daemon, _platform: platform, _cameras: cameras, session, site }
}

fn copy_photo(photo: &str, to: &Path) {
    fs::copy(photo_path(photo), to).unwrap();
}

#[test]
fn the_commands_for_a_running_gate_work() {
    let gate = gate("gate-1");
    let second = self::gate("gate-2");
    run("gate-2", &second.session);
    let export = "gate-2-2026-10.jsonl";
    fs::copy(second.site.path(export), gate.site.path(export)).unwrap();
    let head = second.site.gatehouse(&["--json", "evidence", "head"]).json_lines().remove(0);
    let fingerprint = head["fingerprint"].as_str().unwrap();
    fs::write(gate.site.path("gate-2.fingerprint"), fingerprint).unwrap();

    copy_photo("person_a_1.jpg", &gate.site.path("front.jpg"));
    copy_photo("person_a_2.jpg", &gate.site.path("left.jpg"));
    fs::create_dir(gate.site.path("photos")).unwrap();
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet();
    let head = ["工号", "姓名", "身份证号", "班组", "劳务公司", "工种", "同意书编号"];
    let rows = [
        head,
        ["W011", "王强", "110101199003070038", "钢筋一班", "福鼎劳务", "钢筋工", "C-2026-011"],
        ["W012", "赵敏", "522201198805112024", "钢筋一班", "福鼎劳务", "钢筋工", "C-2026-012"],
    ];
    for (n, row) in (0..).zip(rows) {
        sheet.write_row(n, 0, row).unwrap();
    }
    workbook.save(gate.site.path("roster.xlsx")).unwrap();
    copy_photo("impostor_1.jpg", &gate.site.path("photos/W011.jpg"));
    copy_photo("impostor_2.jpg", &gate.site.path("photos/W012.jpg"));
    run(USUAL, &gate.session);
}

#[test]
fn the_commands_of_a_platform_are_answered_as_documented() {
    let gate = gate_with(|c| c.its("commands", "roster"));
    copy_photo("person_a_2.jpg", &gate.site.path("photo.jpg"));
    run("platform", &gate.session);
}

/// Runs a session on a device: `config/gatehouse.toml` and its folders, without camera and turnstile.
fn device(name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::new(&folder.path().join("broker"));
    broker.start();
    let config = folder.path().join("etc/gatehouse/gatehouse.toml");
    fs::create_dir_all(config.with_file_name("secrets")).unwrap();
    // A password needs a username.
    let text = shipped::gatehouse_toml(folder.path(), broker.port);
    assert!(text.contains("\n#username = "));
    fs::write(&config, text.replace("\n#username = ", "\nusername = ")).unwrap();
    let mut session = Session::new(folder.path());
    session.set("DEVICE", folder.path());
    session.set("GATEHOUSE_CONFIG", config);
    session.begins = "systemctl start gatehouse";
    run(name, &session);
}

#[test]
fn the_commands_for_passwords_keys_and_a_reset_work() {
    device("device");
}

#[test]
fn the_commands_for_a_separate_sealing_key_work() {
    device("device with its key apart");
}

#[test]
fn every_block_of_commands_is_run_or_says_why_not() {
    let (mut seen, mut before) = (BTreeSet::new(), false);
    for block in page::all().iter().flat_map(|page| &page.blocks) {
        let Block { place, language, marks, text } = block;
        let allowed: &[&str] = match (language.as_str(), block.value("not run")) {
            ("sh", Some(reason)) => {
                assert!(reason.len() > 10, "{place}: give the reason");
                &["not run"]
            }
            ("sh", None) => &["run", "stays", "wait", "expect"],
            ("json", _) => &["printed above"],
            ("toml" | "yaml" | "csv" | "python", _) => &[],
            ("", _) => {
                let types =
                    |line: &str| line.starts_with(['$', '#']) || line.starts_with("gatehouse");
                assert!(!text.lines().any(types), "{place}: commands are `sh`");
                &[]
            }
            _ => panic!("{place}: the language {language:?} is unknown here"),
        };
        for (key, _) in marks {
            assert!(allowed.contains(&key.as_str()), "{place}: {key:?} is no mark of such a block");
        }
        let shows = block.value("printed above").is_some();
        assert!(!shows || before, "{place}: the block above it prints nothing");
        before = session_of(block).is_some();
        if let Some(session) = session_of(block) {
            assert!(SESSIONS.contains(&session), "{place}: there is no session {session:?}");
            seen.insert(session.to_owned());
        }
    }
    assert_eq!(seen, SESSIONS.map(str::to_owned).into());
}

#[test]
fn every_block_of_toml_json_and_yaml_is_valid() {
    let mut seen = BTreeSet::new();
    for Block { place, language, text, .. } in page::all().iter().flat_map(|page| &page.blocks) {
        match language.as_str() {
            "toml" => {
                let site =
                    if text.contains("[site]") { "" } else { "[site]\nproject_code = \"P-1\"\n" };
                let whole = format!("{site}{text}");
                Config::parse(Path::new(place), &whole).unwrap_or_else(|e| panic!("{place}: {e}"));
            }
            "json" => {
                let values: Result<Vec<Value>, _> =
                    serde_json::Deserializer::from_str(text).into_iter().collect();
                values.unwrap_or_else(|e| panic!("{place}: {e}"));
            }
            "yaml" => {
                drop(YamlLoader::load_from_str(text).unwrap_or_else(|e| panic!("{place}: {e}")))
            }
            _ => continue,
        }
        seen.insert(language.clone());
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[test]
fn every_roster_that_is_shown_can_be_imported() {
    let site = with_a_lane();
    let _daemon = site.start();
    let mut seen = 0;
    for page in page::all() {
        for Block { place, text, .. } in page.blocks.iter().filter(|b| b.language == "csv") {
            fs::write(site.path("roster.csv"), text).unwrap();
            let roster = site.path("roster.csv").display().to_string();
            let said = site.gatehouse(&["worker", "import", &roster, "--dry-run"]);
            assert_eq!(said.code, 0, "{place}: {said:?}");
            seen += 1;
        }
    }
    assert!(seen > 0);
}

/// Placeholders in a command within a sentence, and a value for each.
const PLACEHOLDERS: [(&str, &str); 1] = [("SEQ", "4711")];

#[test]
fn every_command_in_a_sentence_exists_in_the_program() {
    let program = gatehouse::cli::command();
    let mut seen = 0;
    for Page { name, spans, .. } in page::all().into_iter().chain(page::comments()) {
        for (line, span) in spans {
            let place = format!("{name}:{line}: `{span}`");
            let bare = span.strip_prefix("gatehouse ");
            let first = span.split(' ').next().unwrap();
            // `key = "…"` is no command, and `status` alone may be a topic as well.
            let named = program.find_subcommand(first).is_some() && span.contains(' ');
            if bare.is_none() && (!named || span.contains(" = ")) {
                continue;
            }
            let words = shlex::split(bare.unwrap_or(&span)).unwrap_or_else(|| panic!("{place}"));
            let placeholder = |word: String| {
                let stands = PLACEHOLDERS.iter().find(|p| p.0 == word);
                stands.map_or(word, |p| p.1.to_owned())
            };
            let has_options = words.iter().any(|word| word.starts_with("--"));
            let words = words.into_iter().map(placeholder);
            let parsed = program
                .clone()
                .try_get_matches_from(["gatehouse".to_owned()].into_iter().chain(words));
            match parsed.as_ref().map_err(clap::Error::kind) {
                Ok(_) | Err(ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {}
                // A mention without required arguments, such as `worker enroll`.
                Err(ErrorKind::MissingRequiredArgument) if !has_options => {}
                Err(_) => panic!("{place}: {}", parsed.unwrap_err()),
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn every_key_in_a_sentence_exists_in_the_configuration() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/gatehouse.toml");
    let commented = fs::read_to_string(path).unwrap();
    let mut seen = 0;
    for Page { name, spans, .. } in page::all() {
        for (line, span) in spans {
            let Some((key, _)) = span.split_once(" = ") else { continue };
            let key = format!("{} = ", key.rsplit('.').next().unwrap());
            let explained = |line: &str| line.trim_start_matches(['#', ' ']).starts_with(&key);
            assert!(commented.lines().any(explained), "{name}:{line}: `{span}`");
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen}");
}

/// Pages with claims about security, and the least number of their rows.
const CLAIMS: [(&str, usize); 3] =
    [("README.md", 13), ("docs/operate/privacy.md", 8), ("docs/develop/threat-model.md", 35)];

/// Returns the names of all tests, and of the families of tests in `crash.rs`.
fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut folders, mut names) = (vec![root.join("src"), root.join("tests")], BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(path).unwrap();
                let marks = ["#[test]", "#[tokio::test", "at! {"];
                let after = marks.iter().flat_map(|mark| text.split(mark).skip(1));
                names.extend(after.filter_map(|rest| {
                    let (head, name) = match rest.split_once("fn ") {
                        Some((head, name)) if !head.contains(" by ") => (head, name),
                        _ => ("", rest.trim_start()),
                    };
                    let is_end = |c: char| !(c.is_alphanumeric() || c == '_');
                    (!head.contains('{')).then(|| name.split(is_end).next().unwrap().to_owned())
                }));
            }
        }
    }
    // The macro `at!` has a name in its declaration that is none.
    names.remove("");
    names
}

#[test]
fn each_claim_about_security_names_a_test_that_exists() {
    let tests = tests();
    assert!(tests.len() > 1000 && !tests.contains("run"), "{tests:#?}");
    assert!(tests.contains("i7_a_cut_within_a_removal_erases_all_or_nothing"), "{tests:#?}");
    for (name, least) in CLAIMS {
        let pages = page::all();
        let page = pages.iter().find(|page| page.name == name).unwrap();
        let (mut of_claims, mut rows) = (false, 0);
        for (at, line) in page.prose.lines().enumerate() {
            let cell = line.trim_end_matches('|').rsplit('|').next().unwrap().trim();
            of_claims = line.starts_with('|') && (of_claims || cell == "Test");
            if !of_claims || cell == "Test" || cell == "---" {
                continue;
            }
            for test in cell.split(", ").map(|test| test.trim_matches('`')) {
                assert!(tests.contains(test), "{name}:{}: there is no test {test:?}", at + 1);
            }
            rows += 1;
        }
        assert!(rows >= least, "{name}: {rows} rows");
    }
}

/// Returns the anchor that Markdown readers make of a heading.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    heading.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

#[test]
fn every_page_is_in_the_contents_and_every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = page::all();
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()) {
            let name = file.strip_prefix(root).unwrap().to_str().unwrap();
            if file.is_dir() {
                folders.push(file);
            } else if name.ends_with(".md") && name != "docs/SUMMARY.md" {
                assert!(pages.iter().any(|page| page.name == name), "{name} is not in SUMMARY.md");
            }
        }
    }
    let mut seen = 0;
    for Page { name, prose, .. } in &pages {
        for link in page::links(prose).iter().filter(|link| !link.starts_with("https://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let here = Path::new(name);
            let target = if file.is_empty() { here.into() } else { here.with_file_name(file) };
            let text = fs::read_to_string(root.join(&target));
            let text = text.unwrap_or_else(|e| panic!("{name}: {link}: {e}"));
            let mut headings = text.lines().filter(|line| line.starts_with('#'));
            let found = heading.is_empty() || headings.any(|line| anchor(line) == heading);
            assert!(found, "{name}: {link}: there is no such heading");
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn a_mark_or_a_block_that_would_be_ignored_is_refused() {
    let refused = |text: &str| Page::parse("a.md", text).err();
    assert_eq!(refused("<!-- run: bench -->\n```sh\ntrue\n```\n"), None);
    for text in [
        "<!-- run: bench -->\n\n```sh\ntrue\n```\n",
        "```sh\ntrue\n",
        "a `b\n",
        "<!-- x: y -->\n",
        "    true\n",
        "- a\n  ```sh\n  true\n  ```\n",
        "~~~sh\n",
    ] {
        assert!(refused(text).is_some(), "{text}");
    }
    let page =
        Page::parse("a.md", "x `a\nb` y `c`\n\n<!-- not run: a -->\n<!-- x -->\n```sh\n# `\n```\n")
            .unwrap();
    assert_eq!(page.spans, [(1, "a b".to_owned()), (2, "c".to_owned())]);
    let block = &page.blocks[0];
    assert_eq!((block.place.as_str(), block.text.as_str()), ("a.md:6", "# `\n"));
    assert_eq!((block.value("not run"), block.value("x")), (Some("a"), Some("")));
}
