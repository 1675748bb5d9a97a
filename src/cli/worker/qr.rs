//! `gatehouse worker qr`: makes a code that opens one passage, and shows it.

use anyhow::Context as _;
use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};

use super::Context;
use crate::{
    control::Request,
    services::{CodeMade, MakeCode},
};

pub(super) async fn run(context: &Context, asked: MakeCode) -> anyhow::Result<()> {
    let made: CodeMade = context.ask(&Request::MakeCode(asked)).await?;
    let drawn = QrCode::with_error_correction_level(&made.code, EcLevel::M)
        .context("the code cannot be drawn")?
        .render::<Dense1x2>()
        // Most terminals show light letters on a dark ground.
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    context.print(&made, |CodeMade { id, code, expires_at, exit_only }| match exit_only {
        None => format!("{drawn}\n{code}\nopens one passage of {id} until {expires_at}"),
        Some(why) => format!(
            "{drawn}\n{code}\nopens no entry, only an exit of {id} until {expires_at}: {why}"
        ),
    })
}
