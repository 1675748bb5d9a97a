//! What a page of the documentation says beside its prose: fenced blocks with their marks, and spans of code.

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
    /// Spans of code outside blocks, on one line, with the line where each begins.
    pub spans: Vec<(usize, String)>,
}

/// README.md and every page in docs/.
pub fn all() -> Vec<Page> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = vec!["README.md".to_owned()];
    if let Ok(folder) = std::fs::read_dir(root.join("docs")) {
        let inside = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut inside: Vec<_> = inside.filter(|name| name.ends_with(".md")).collect();
        inside.sort();
        names.extend(inside.into_iter().map(|name| format!("docs/{name}")));
    }
    let read = |name: String| {
        let text = std::fs::read_to_string(root.join(&name)).unwrap();
        Page::parse(&name, &text).unwrap_or_else(|e| panic!("{e}"))
    };
    names.into_iter().map(read).collect()
}

impl Page {
    pub fn parse(name: &str, text: &str) -> Result<Page, String> {
        let mut page = Page { name: name.to_owned(), blocks: Vec::new(), spans: Vec::new() };
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
                let inside =
                    comment.strip_suffix("-->").ok_or(format!("{place}: a long comment"))?;
                let (key, value) = inside.split_once(':').unwrap_or((inside, ""));
                marks.push((key.trim().to_owned(), value.trim().to_owned()));
            } else if !marks.is_empty() {
                return Err(format!(
                    "{place}: the comment before it is not directly before a block"
                ));
            } else {
                shown = line;
            }
            prose += &format!("{shown}\n");
        }
        if open.is_some() || !marks.is_empty() {
            return Err(format!("{name}: its end is within a block"));
        }
        let mut pieces = prose.split('`');
        let mut line = 1 + pieces.next().unwrap_or_default().matches('\n').count();
        while let Some(span) = pieces.next() {
            page.spans.push((line, span.split_whitespace().collect::<Vec<_>>().join(" ")));
            line += span.matches('\n').count();
            let between = pieces.next().ok_or(format!("{name}: a span of code is not closed"))?;
            line += between.matches('\n').count();
        }
        Ok(page)
    }
}
