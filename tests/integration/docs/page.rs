//! Parses a page of the documentation: its fenced blocks with their marks, and its spans of code.

use std::path::Path;

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// `README.md:123`, where its fence opens.
    pub place: String,
    /// The word behind the fence: `sh`, `toml`, or empty.
    pub language: String,
    pub text: String,
    /// The comments directly before the fence, `<!-- key: value -->`, in order.
    pub marks: Vec<(String, String)>,
}

impl Block {
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.marks.iter().filter(move |mark| mark.0 == key).map(|mark| mark.1.as_str())
    }

    pub fn value<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        self.values(key).next()
    }
}

pub struct Page {
    pub name: String,
    pub blocks: Vec<Block>,
    /// The text without blocks and marks, which leave empty lines.
    pub prose: String,
    /// Spans of code outside blocks, on one line, with the line where each begins.
    pub spans: Vec<(usize, String)>,
}

/// Returns the pages in the root folder, then those of docs/ in the order of its contents.
pub fn all() -> Vec<Page> {
    let contents = read("docs/SUMMARY.md");
    let listed = links(&contents).into_iter().map(|link| format!("docs/{link}"));
    let pages = files("", ".md").into_iter().chain(listed.map(|name| (name.clone(), read(&name))));
    pages.map(|(name, text)| Page::parse(&name, &text).unwrap_or_else(|e| panic!("{e}"))).collect()
}

/// Returns the targets of the Markdown links in a text: `[words](target)`.
pub fn links(text: &str) -> Vec<String> {
    let rest = text.split("](").skip(1);
    rest.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// Returns the comments of each configuration in config/, as pages without blocks.
pub fn comments() -> Vec<Page> {
    let page = |(name, text): (String, String)| {
        let comment = |line: &str| match line.strip_prefix('#') {
            Some(comment) => format!("{}\n", comment.trim_start()),
            None => "\n".to_owned(),
        };
        let prose: String = text.lines().map(comment).collect();
        Page::parse(&name, &prose).unwrap_or_else(|e| panic!("{e}"))
    };
    files("config/", ".toml").into_iter().map(page).collect()
}

/// Returns names and texts of the files in a folder of the checkout, sorted.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = std::fs::read_dir(root.join(folder)).unwrap();
    let names = found.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(ending)).collect();
    names.sort();
    names
        .into_iter()
        .map(|n| format!("{folder}{n}"))
        .map(|name| (name.clone(), read(&name)))
        .collect()
}

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn is_fence(line: &str) -> bool {
    line.starts_with("```") || line.starts_with("~~~")
}

impl Page {
    pub fn parse(name: &str, text: &str) -> Result<Page, String> {
        let mut page = Page {
            name: name.to_owned(),
            blocks: Vec::new(),
            prose: String::new(),
            spans: Vec::new(),
        };
        let mut marks = Vec::new();
        let mut prose = String::new();
        let mut open: Option<Block> = None;
        for (n, line) in text.lines().enumerate() {
            let place = format!("{name}:{}", n + 1);
            let mut shown = "";
            if let Some(block) = &mut open {
                if line == "```" {
                    page.blocks.extend(open.take());
                } else {
                    block.text += &format!("{line}\n");
                }
            } else if let Some(language) = line.strip_prefix("```") {
                let (language, marks) = (language.to_owned(), std::mem::take(&mut marks));
                open = Some(Block { place, language, text: String::new(), marks });
            } else if let Some(comment) = line.strip_prefix("<!--") {
                let inside = comment
                    .strip_suffix("-->")
                    .ok_or(format!("{place}: a comment must end on its line"))?;
                let (key, value) = inside.split_once(':').unwrap_or((inside, ""));
                marks.push((key.trim().to_owned(), value.trim().to_owned()));
            } else if line.starts_with("    ") || is_fence(line.trim_start()) {
                return Err(format!("{place}: a block needs ``` at the beginning of the line"));
            } else if !marks.is_empty() {
                return Err(format!("{place}: a mark must be directly before a block"));
            } else {
                shown = line;
            }
            prose += &format!("{shown}\n");
        }
        if open.is_some() || !marks.is_empty() {
            return Err(format!("{name}: a block or a mark at the end is not closed"));
        }
        let mut pieces = prose.split('`');
        let mut line = 1 + pieces.next().unwrap_or_default().matches('\n').count();
        while let Some(span) = pieces.next() {
            page.spans.push((line, span.split_whitespace().collect::<Vec<_>>().join(" ")));
            line += span.matches('\n').count();
            let between = pieces.next().ok_or(format!("{name}: a span of code is not closed"))?;
            line += between.matches('\n').count();
        }
        page.prose = prose;
        Ok(page)
    }
}
