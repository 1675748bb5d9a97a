//! `gatehouse attendance photo`: the photo that was taken of a passage, while one is kept.

use std::{io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;

use super::super::Context;
use crate::{
    control::{PhotoPiece, PhotoShown, Request},
    services::PassageAsked,
    turnstile::PassageId,
};

#[derive(Args)]
pub(in crate::cli) struct Photo {
    /// The record's seq, or its passage
    #[arg(value_name = "SEQ|PASSAGE", value_parser = asked)]
    of: PassageAsked,
    /// Where the JPEG goes; a file that is there already is left as it is
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// A passage is 32 digits, a seq never as many.
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
    let each = |piece: PhotoPiece| match hex::decode(piece.hex) {
        Ok(bytes) => jpeg.extend(bytes),
        Err(_) => broken = true,
    };
    let shown: PhotoShown = client.list(&Request::PassagePhoto { of: photo.of }, each).await?;
    anyhow::ensure!(!broken && jpeg.len() == shown.bytes, "the photo did not arrive whole");
    let out = photo.out.display();
    // A picture of a person: for whoever asked, and nobody else.
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&photo.out);
    let mut file = file.with_context(|| format!("{out}: choose another --out"))?;
    file.write_all(&jpeg).with_context(|| out.to_string())?;
    context.print(&shown, |shown| format!("{out}: the photo of passage {}", shown.passage))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
