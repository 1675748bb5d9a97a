"""Prints what a workbook says, as JSON: per sheet its page setup, what is merged, and its cells."""

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
                # A duration; openpyxl makes a time of it.
                value = str(value)
            cells[cell.coordinate] = {
                "value": value,
                "type": cell.data_type,
                "format": cell.number_format,
                "font": cell.font.name,
            }
    sheets.append(
        {
            "name": sheet.title,
            "paper": sheet.page_setup.paperSize,
            "orientation": sheet.page_setup.orientation,
            "fit": [
                sheet.sheet_properties.pageSetUpPr.fitToPage,
                # 1 is what the format has where nothing is said.
                1 if sheet.page_setup.fitToWidth is None else sheet.page_setup.fitToWidth,
                sheet.page_setup.fitToHeight,
            ],
            "breaks": [after.id for after in sheet.row_breaks.brk],
            "repeated": sheet.print_title_rows,
            "footer": sheet.oddFooter.center.text,
            "merged": sorted(str(merged) for merged in sheet.merged_cells.ranges),
            "cells": cells,
        }
    )
print(json.dumps({"created": str(book.properties.created), "sheets": sheets}))
