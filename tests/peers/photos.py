"""Writes a photo in the forms that phones, scanners and programs give it.

Usage: photos.py PHOTO FOLDER. The photo is a JPEG. Each form has its name; the end of a name does not
say its format.
"""

import io
import pathlib
import sys

from PIL import Image

photo, folder = Image.open(sys.argv[1]).convert("RGB"), pathlib.Path(sys.argv[2])
photo.thumbnail((480, 480))


def encoded(picture, form, **options):
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


RIGHT, OVER, LEFT = Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_90
# Photos as they are taken.
whole = {
    "plain": encoded(photo, "JPEG", quality=92),
    "progressive": encoded(photo, "JPEG", quality=92, progressive=True),
    "restarts": encoded(photo, "JPEG", quality=92, restart_marker_blocks=4),
    "grey": encoded(photo.convert("L"), "JPEG", quality=92),
    "cmyk": encoded(photo.convert("CMYK"), "JPEG", quality=92),
    "webp": encoded(photo, "WEBP", quality=90),
    "webp_lossless": encoded(photo, "WEBP", lossless=True),
    "webp_alpha_exif": encoded(photo.convert("RGBA"), "WEBP", quality=90, exif=orientation(1)),
    "bmp": encoded(photo, "BMP"),
    "bmp_palette": encoded(photo.convert("P"), "BMP"),
    "tiff": encoded(photo, "TIFF"),
    "tiff_lzw": encoded(photo, "TIFF", compression="tiff_lzw"),
    "tiff_deflate": encoded(photo, "TIFF", compression="tiff_adobe_deflate"),
    "tiff_grey": encoded(photo.convert("L"), "TIFF"),
    "tiff_cmyk": encoded(photo.convert("CMYK"), "TIFF"),
    "png_palette": encoded(photo.convert("P"), "PNG"),
    "exif_right": encoded(photo.transpose(LEFT), "JPEG", quality=92, exif=orientation(6)),
}
plain = whole["plain"]
# A motion photo: the JPEG, then a film that holds the bytes of scans.
film = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\xff\xda\0\x0c\xff\xd9" * 100
whole["motion"] = plain + film
whole["motion_progressive"] = whole["progressive"] + film
whole["trailer"] = plain + b"SEFH\x6b\0\0\0\1\0\0\0" + bytes(200) + b"SEFT"
thumbnail = b"Exif\0\0MM\0*\0\0\0\x08" + encoded(photo.resize((120, 90)), "JPEG", progressive=True)
segment = b"\xff\xe1" + (2 + len(thumbnail)).to_bytes(2, "big") + thumbnail
whole["thumbnail"] = plain[:2] + segment + plain[2:]

turned = {
    "right_90": encoded(photo.transpose(RIGHT), "JPEG", quality=92),
    "over_180": encoded(photo.transpose(OVER), "PNG"),
    "left_270": encoded(photo.transpose(LEFT), "JPEG", quality=92),
    "exif_lies_6": encoded(photo, "JPEG", quality=92, exif=orientation(6)),
    "exif_lies_3": encoded(photo, "JPEG", quality=92, exif=orientation(3)),
}


def with_hole(data, at, length):
    return data[:at] + bytes(length) + data[at + length :]


def part(name, share):
    data = whole[name]
    return data[: int(len(data) * share)]


middle = len(plain) // 2
damaged = {
    "30_percent": part("plain", 0.3),
    "99_percent": part("plain", 0.99),
    "zeros_behind": part("plain", 0.5) + bytes(len(plain) - len(part("plain", 0.5))),
    "without_end": plain[:-2],
    "hole": with_hole(plain, middle, 200),
    "lost_part": plain[:middle] + plain[middle + 200 :],
    "progressive_half": part("progressive", 0.5),
    "restarts_lost_part": whole["restarts"][:middle] + whole["restarts"][middle + 200 :],
    "webp_80_percent": part("webp", 0.8),
    "bmp_80_percent": part("bmp", 0.8),
    "tiff_80_percent": part("tiff_lzw", 0.8),
}
png = encoded(photo, "PNG")
damaged["png_80_percent"] = png[: len(png) * 8 // 10]
damaged["png_without_end"] = png[:-12]
damaged["png_checksum"] = png[: len(png) // 2] + bytes([png[len(png) // 2] ^ 1]) + png[len(png) // 2 + 1 :]

others = {"gif": encoded(photo, "GIF"), "pdf": encoded(photo, "PDF"), "jpeg2000": encoded(photo, "JPEG2000")}

for group, photos in ("whole", whole), ("turned", turned), ("damaged", damaged), ("others", others):
    (folder / group).mkdir()
    for name, data in photos.items():
        (folder / group / name).write_bytes(data)
