//! `gatehouse lane watch --picture`: saves the view of a lane's camera, without faces.

use std::{path::Path, process::ExitCode};

use super::super::{Context, attendance::photo::save};
use crate::{
    control::{Piece, Request},
    services::{PictureQuery, PictureShown},
    words::counted,
};

pub(super) async fn run(
    context: &Context,
    query: PictureQuery,
    file: &Path,
) -> anyhow::Result<ExitCode> {
    let ends = file.extension().map(|ends| ends.to_ascii_lowercase());
    anyhow::ensure!(
        ends.is_none_or(|ends| ends == "jpg" || ends == "jpeg"),
        "{}: the picture is a JPEG: choose a name that ends in .jpg",
        file.display()
    );
    let (mut jpeg, mut broken) = (Vec::new(), false);
    let mut client = context.client().await?;
    let each = |piece: Piece| match hex::decode(piece.hex) {
        Ok(bytes) => jpeg.extend(bytes),
        Err(_) => broken = true,
    };
    let shown: PictureShown = client.list(&Request::Picture(query), each).await?;
    anyhow::ensure!(
        !broken && jpeg.len() == shown.bytes,
        "the picture arrived incomplete: run the command again"
    );
    save(file, &jpeg)?;
    context.print(&shown, |shown| words(file, shown))?;
    Ok(ExitCode::SUCCESS)
}

fn words(file: &Path, shown: &PictureShown) -> String {
    let (width, height) = shown.frame;
    let zone = if shown.zone { "" } else { "; no zone is set, so the whole picture counts" };
    let faces = counted(shown.faces.len() as u64, "face");
    let mut text = format!(
        "{}: camera {}, {width} x {height} pixels, {faces}{zone}",
        file.display(),
        shown.direction
    );
    for face in &shown.faces {
        text += &format!("\n  {} pixels wide: {}", face.width_px, face.what.replace('_', " "));
    }
    text
}
