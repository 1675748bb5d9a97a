//! `gatehouse attendance …`: the records.

mod photo;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::civil::Date;
use serde_json::Value;

use super::Context;
use crate::{
    control::{AttendanceQuery, Request},
    roster::WorkerId,
};

#[derive(Subcommand)]
pub(super) enum Command {
    /// List attendance records, oldest first (JSON: the record as it is sent upstream)
    List(List),
    /// Fetch the photo of a passage, while one is kept; who looked is logged
    Photo(photo::Photo),
}

#[derive(Args)]
pub(super) struct List {
    #[arg(long, value_name = "ID")]
    worker: Option<WorkerId>,
    /// First day, such as 2026-10-01
    #[arg(long, value_name = "DATE", value_parser = super::day)]
    from: Option<Date>,
    /// Last day
    #[arg(long, value_name = "DATE", value_parser = super::day)]
    to: Option<Date>,
    #[arg(long)]
    lane: Option<String>,
}

pub(super) async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    let List { worker, from, to, lane } = match command {
        Command::List(list) => list,
        Command::Photo(photo) => return photo::run(context, photo).await,
    };
    let request = Request::Attendance(AttendanceQuery { worker, from, to, lane });
    let mut rows = Vec::new();
    let mut printed = Ok(());
    let mut client = context.client().await?;
    let _: Value = client
        .ask(&request, |record: Value| {
            if !context.json {
                rows.push(record);
            } else if printed.is_ok() {
                printed = super::print_line(&record.to_string());
            }
        })
        .await?;
    printed?;
    if !context.json {
        let text = |r: &Value, key: &str| match &r[key] {
            Value::String(text) => text.clone(),
            Value::Null => "-".to_owned(),
            other => other.to_string(),
        };
        let columns =
            ["seq", "at", "worker", "name", "direction", "lane", "means", "score", "outcome"];
        let rows = rows.iter().map(|r| columns.map(|c| text(r, c)).to_vec());
        super::print_line(&super::table(
            &columns.map(str::to_uppercase).each_ref().map(String::as_str),
            rows,
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
