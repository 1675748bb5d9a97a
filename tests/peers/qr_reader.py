"""Prints the text of the only QR code in a picture, as ZXing reads it."""

import sys

import zxingcpp
from PIL import Image

found = zxingcpp.read_barcodes(Image.open(sys.argv[1]))
assert len(found) == 1, f"{len(found)} codes"
assert found[0].format == zxingcpp.BarcodeFormat.QRCode, found[0].format
print(found[0].text)
