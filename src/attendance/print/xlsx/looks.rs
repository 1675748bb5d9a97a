//! The formats of the workbook's cells.

use rust_xlsxwriter::{Format, FormatAlign, FormatBorder};

/// A Chinese font. A program without this font takes a similar Chinese font.
const FONT: &str = "宋体";
const RED: u32 = 0xC0_00_00;

pub(super) struct Looks {
    pub(super) title: Format,
    pub(super) plain: Format,
    pub(super) red: Format,
    pub(super) heading: Format,
    pub(super) weekend: Format,
    pub(super) group: Format,
    pub(super) cell: Format,
    pub(super) text: Format,
    pub(super) wrapped: Format,
    pub(super) hours: Format,
    pub(super) marks: Format,
    pub(super) sum: Format,
    pub(super) sum_text: Format,
    pub(super) sum_hours: Format,
}

impl Looks {
    pub(super) fn new() -> Looks {
        let base = Format::new().set_font_name(FONT).set_font_size(10);
        let boxed =
            base.clone().set_border(FormatBorder::Thin).set_align(FormatAlign::VerticalCenter);
        let centred = boxed.clone().set_align(FormatAlign::Center);
        let heading = centred
            .clone()
            .set_font_size(9)
            .set_bold()
            .set_text_wrap()
            .set_background_color(0xE7_E6_E6);
        let sum = centred.clone().set_bold().set_background_color(0xF2_F2_F2);
        let narrow = centred.clone().set_font_size(9).set_shrink();
        let text = boxed.clone().set_align(FormatAlign::Left);
        let plain =
            base.clone().set_align(FormatAlign::Left).set_align(FormatAlign::Top).set_text_wrap();
        Looks {
            title: base.clone().set_font_size(18).set_bold().set_align(FormatAlign::Center),
            red: plain.clone().set_font_color(RED),
            plain,
            weekend: heading.clone().set_background_color(0xD0_CE_CE),
            group: text.clone().set_bold(),
            text: text.clone().set_shrink(),
            wrapped: text.clone().set_text_wrap(),
            hours: narrow.clone().set_num_format("[h]:mm"),
            marks: narrow.clone().set_font_color(RED),
            sum_text: sum.clone().set_align(FormatAlign::Left),
            sum_hours: sum.clone().set_num_format("[h]:mm").set_shrink(),
            cell: centred,
            heading,
            sum,
        }
    }
}
