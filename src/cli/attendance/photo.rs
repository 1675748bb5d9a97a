//! `gatehouse attendance photo`: saves the photo of a passage to a file, while the photo is kept.

use std::{
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;

use super::super::Context;
use crate::{
    control::{PhotoShown, Piece, Request},
    services::PassageAsked,
    turnstile::PassageId,
};

#[derive(Args)]
pub(in crate::cli) struct Photo {
    /// The record's seq, or its passage of 32 digits
    #[arg(value_name = "SEQ|PASSAGE", value_parser = asked)]
    of: PassageAsked,
    /// The JPEG file to write; an existing file is not replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Parses a passage (32 hexadecimal digits) or a seq (always shorter).
fn asked(text: &str) -> Result<PassageAsked, String> {
    match (text.parse::<PassageId>(), text.parse()) {
        (Ok(passage), _) => Ok(PassageAsked::Passage(passage.to_string())),
        (_, Ok(seq)) => Ok(PassageAsked::Seq(seq)),
        _ => Err("must be a record's seq, or the 32 digits of its passage".to_owned()),
    }
}

pub(in crate::cli) async fn run(context: &Context, photo: Photo) -> anyhow::Result<ExitCode> {
    let (mut jpeg, mut broken) = (Vec::new(), false);
    let mut client = context.client().await?;
    let each = |piece: Piece| match hex::decode(piece.hex) {
        Ok(bytes) => jpeg.extend(bytes),
        Err(_) => broken = true,
    };
    let shown: PhotoShown = client.list(&Request::PassagePhoto { of: photo.of }, each).await?;
    anyhow::ensure!(
        !broken && jpeg.len() == shown.bytes,
        "the photo arrived incomplete: run the command again"
    );
    let out = photo.out.display();
    save(&photo.out, &jpeg)?;
    context.print(&shown, |shown| format!("{out}: the photo of passage {}", shown.passage))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a new file. It is personal data, so only the user of this command can read it.
pub(in crate::cli) fn save(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let name = file.display();
    let mut options = std::fs::OpenOptions::new();
    let created = options.write(true).create_new(true).mode(0o600).open(file);
    let mut created =
        created.with_context(|| format!("{name} cannot be created: choose another file"))?;
    created.write_all(bytes).with_context(|| name.to_string())
}

#[cfg(test)]
mod tests;
