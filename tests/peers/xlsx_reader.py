"""Prints the content of a workbook as JSON: for each sheet its page setup, merged ranges and cells."""

import json
import sys

import openpyxl

book = openpyxl.load_workbook(sys.argv[1])
sheets = []
for sheet in book.worksheets:
    cells = {}
    for row in sheet.iter_rows():
        for cell in row:
            if cell.value is None:
                continue
            value = cell.value
            if cell.is_date or not isinstance(value, (str, int, float)):
                # A duration, which openpyxl returns as a time.
                value = str(value)
            cells[cell.coordinate] = {
                "value": value,
                "type": cell.data_type,
                "format": cell.number_format,
                "font": cell.font.name,
                # The colour of a theme is not text.
                "colour": str(cell.font.color.rgb) if cell.font.color else None,
            }
    sheets.append(
        {
            "name": sheet.title,
            "paper": sheet.page_setup.paperSize,
            "orientation": sheet.page_setup.orientation,
            "fit": [
                sheet.sheet_properties.pageSetUpPr.fitToPage,
                # The file format's default is 1.
                1 if sheet.page_setup.fitToWidth is None else sheet.page_setup.fitToWidth,
                sheet.page_setup.fitToHeight,
            ],
            # Units: inches for margins, points for heights, and digits of the default font for
            # widths.
            "margins": [
                sheet.page_margins.left,
                sheet.page_margins.right,
                sheet.page_margins.top,
                sheet.page_margins.bottom,
            ],
            "heights": [sheet.row_dimensions[n + 1].height for n in range(sheet.max_row)],
            "widths": [
                dimension.width
                for dimension in sheet.column_dimensions.values()
                for _ in range(dimension.min, dimension.max + 1)
            ],
            "breaks": [after.id for after in sheet.row_breaks.brk],
            "repeated": sheet.print_title_rows,
            "footer": sheet.oddFooter.center.text,
            "merged": sorted(str(merged) for merged in sheet.merged_cells.ranges),
            "cells": cells,
        }
    )
default = book._named_styles["Normal"].font
print(
    json.dumps(
        {
            "created": str(book.properties.created),
            "default_font": [default.name, default.size],
            "sheets": sheets,
        }
    )
)
