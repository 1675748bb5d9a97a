//! `gatehouse worker card`: the cards of a worker.

use clap::Args;

use super::Context;
use crate::{
    control::Request,
    reader::CardFormat,
    roster::{CardChange, WorkerId},
    services::{CardChanged, Cards, ChangeCard},
};

#[derive(Args)]
pub(in crate::cli) struct Card {
    /// The worker's id
    id: WorkerId,
    /// Give this card to the worker: the number as it is printed, 0000662316 or 010,06956, or hex
    /// such as 0A1B2C
    #[arg(long, value_name = "NUMBER", group = "change")]
    add: Option<String>,
    /// Take this card back
    #[arg(long, value_name = "NUMBER", group = "change")]
    remove: Option<String>,
    /// Mark this card as lost: it opens no entry
    #[arg(long, value_name = "NUMBER", group = "change")]
    lost: Option<String>,
}

pub(super) async fn run(context: &Context, card: Card) -> anyhow::Result<()> {
    let Card { id, add, remove, lost } = card;
    let asked = [
        add.map(|number| (CardChange::Added, number)),
        remove.map(|number| (CardChange::Removed, number)),
        lost.map(|number| (CardChange::Lost, number)),
    ];
    let Some((change, number)) = asked.into_iter().flatten().next() else {
        let cards: Cards = context.ask(&Request::Cards { id }).await?;
        return context.print(&cards, listed);
    };
    let asked = ChangeCard { id, number, change, dry_run_after: None };
    let changed: CardChanged = context.ask(&Request::ChangeCard(asked)).await?;
    context.print(&changed, told)
}

fn told(changed: &CardChanged) -> String {
    let CardChanged { id, change, number, taken_as } = changed;
    let done = match change {
        CardChange::Added => format!("{id} has the card"),
        CardChange::Removed => format!("{id} no longer has the card"),
        CardChange::Code => format!("{id} has a code"),
        CardChange::Lost => format!("{id} lost the card, and it opens no entry:"),
    };
    let taken = match taken_as {
        CardFormat::Dec10 => {
            "a decimal number; if its digits are hex, write 0x before them, and if they are facility and \
                               number, a comma between them"
        }
        CardFormat::FacNum => "facility and number",
        CardFormat::Hex | CardFormat::HexReversed => "hex",
    };
    format!("{done} {number}\nthe number was taken as {taken}")
}

fn listed(cards: &Cards) -> String {
    let Cards { id, cards } = cards;
    if cards.is_empty() {
        return format!(
            "{id} has no card; give one with `gatehouse worker card {id} --add NUMBER`"
        );
    }
    let line = |card: &crate::roster::CardShown| {
        format!("{}{}", card.number, if card.lost { "  lost" } else { "" })
    };
    cards.iter().map(line).collect::<Vec<_>>().join("\n")
}
