//! Checks the list of rooms in `src/lib.rs`. No room imports a room below it. Within a room no
//! files import each other in a circle. A file may use the declarations in the `mod.rs` of its
//! folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Path of a module below the crate: `["store", "photo_store"]`.
type Module = Vec<String>;

/// Returns each module of `src/` with its text, except for files that are not part of the program.
pub fn modules() -> BTreeMap<Module, String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut found) = (vec![src.clone()], BTreeMap::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if ["tests", "main", "fuzz"].contains(&&*stem) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let folder = folder.strip_prefix(&src).unwrap().iter();
                let mut module: Module = folder.map(|p| p.to_str().unwrap().to_owned()).collect();
                if !["mod", "lib"].contains(&&*stem) {
                    module.push(stem);
                }
                let text = fs::read_to_string(&path).unwrap();
                let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                let is_code = |line: &&str| !line.trim_start().starts_with("//");
                let code: Vec<_> = shipped.lines().filter(is_code).collect();
                found.insert(module, code.join("\n"));
            }
        }
    }
    found
}

/// Flattens a `use` tree: `a::{b, c::d}` becomes `a::b` and `a::c::d`. Renames are ignored.
fn flattened(tree: &str, before: &[String], into: &mut Vec<Module>) {
    let tree = tree.trim();
    if let Some((head, list)) = tree.split_once('{') {
        let mut path = before.to_vec();
        path.extend(head.split("::").map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()));
        let list = list.strip_suffix('}').unwrap();
        let (mut depth, mut from) = (0, 0);
        for (at, c) in list.char_indices().chain([(list.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    flattened(&list[from..at], &path, into);
                    from = at + 1;
                }
                _ => {}
            }
        }
    } else if !tree.is_empty() {
        let mut path = before.to_vec();
        let plain = tree.split(" as ").next().unwrap();
        path.extend(plain.split("::").map(|s| s.trim().to_owned()));
        into.push(path);
    }
}

/// Returns the imports of a text, each with whether it is a `pub use`, and the paths within its
/// code.
fn imports(text: &str) -> Vec<(Module, bool)> {
    let (mut found, mut code) = (Vec::new(), String::new());
    for statement in text.split_inclusive(';') {
        let begins = ["use ", "pub use ", "pub(crate) use ", "pub(super) use "]
            .iter()
            .filter_map(|word| statement.rfind(&format!("\n{word}")).or(statement.find(word)))
            .filter(|at| *at == 0 || statement[..*at + 1].ends_with('\n'))
            .min();
        let Some(at) = begins else {
            code += statement;
            continue;
        };
        code += &statement[..at];
        let import = statement[at..].trim().trim_end_matches(';');
        let (visible, tree) = import.split_once("use ").unwrap();
        let mut paths = Vec::new();
        flattened(tree, &[], &mut paths);
        found.extend(paths.into_iter().map(|path| (path, !visible.is_empty())));
    }
    for word in code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        if word.starts_with("crate::") || word.starts_with("super::") {
            found.push((word.split("::").map(str::to_owned).collect(), false));
        }
    }
    found
}

struct House {
    modules: BTreeMap<Module, String>,
    imports: BTreeMap<Module, Vec<(Module, bool)>>,
}

impl House {
    fn new() -> House {
        let modules = modules();
        let imports = modules.iter().map(|(m, text)| (m.clone(), imports(text))).collect();
        House { modules, imports }
    }

    /// Returns the module that defines a path used in `at`. Follows `pub use`.
    fn owner(&self, at: &Module, path: &[String], hops: u8) -> Option<Module> {
        let mut module = at.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => module.clear(),
            "self" => {}
            "super" => {
                while rest.first().is_some_and(|s| s == "super") {
                    module.pop()?;
                    rest = &rest[1..];
                }
                rest = path.get(path.len() - rest.len() - 1..)?;
            }
            first => {
                module.push(first.to_owned());
                if !self.modules.contains_key(&module) {
                    return None;
                }
            }
        }
        rest = &rest[1..];
        while let Some(name) = rest.first() {
            module.push(name.clone());
            if !self.modules.contains_key(&module) {
                module.pop();
                break;
            }
            rest = &rest[1..];
        }
        let named = |(path, _): &&(Module, bool)| rest.first() == path.last();
        match self.imports[&module].iter().find(named) {
            Some((onward, _)) if module != *at && hops > 0 => {
                self.owner(&module, onward, hops - 1).or(Some(module))
            }
            _ => Some(module),
        }
    }

    /// Returns each pair of a module and a module that it uses.
    fn edges(&self) -> BTreeSet<(Module, Module)> {
        let mut edges = BTreeSet::new();
        for (module, imports) in &self.imports {
            for (path, passed_on) in imports {
                let Some(owner) = self.owner(module, path, 4) else { continue };
                // A file may use the module of its own folder.
                if !passed_on && !module.starts_with(&owner) {
                    edges.insert((module.clone(), owner));
                }
            }
        }
        edges
    }
}

#[test]
fn no_room_imports_a_room_below_it() {
    let house = House::new();
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let row = |line: &str| Some(line.strip_prefix("//! | [`")?.split_once("`] |")?.0.to_owned());
    let rooms: Vec<String> = lib.lines().filter_map(row).collect();
    let all: BTreeSet<&String> = house.modules.keys().filter_map(|m| m.first()).collect();
    assert_eq!(rooms.iter().collect::<BTreeSet<_>>(), all, "the table names every room");
    let place = |module: &Module| rooms.iter().position(|room| Some(room) == module.first());
    let edges = house.edges();
    assert!(edges.len() > 300, "{} imports were found", edges.len());
    let down: Vec<_> = edges.iter().filter(|(from, to)| place(from) < place(to)).collect();
    assert!(down.is_empty(), "{down:#?}");
}

#[test]
fn no_files_of_a_room_import_each_other_in_a_circle() {
    let mut edges = House::new().edges();
    edges.retain(|(from, to)| from.first() == to.first());
    // A module that imports no other remaining module is in no circle. The same holds for a module
    // that no other remaining module imports.
    loop {
        let from: BTreeSet<Module> = edges.iter().map(|(from, _)| from.clone()).collect();
        let to: BTreeSet<Module> = edges.iter().map(|(_, to)| to.clone()).collect();
        let before = edges.len();
        edges.retain(|(a, b)| to.contains(a) && from.contains(b));
        if edges.len() == before {
            break;
        }
    }
    let circles: Vec<_> = edges
        .iter()
        .map(|(from, to)| format!("{} -> {}", from.join("::"), to.join("::")))
        .collect();
    assert!(circles.is_empty(), "{circles:#?}");
}
