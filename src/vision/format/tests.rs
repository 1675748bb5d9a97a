use super::*;

#[test]
fn each_file_that_is_no_photo_is_named_with_a_remedy() {
    let file = |begin: &[u8]| [begin, &[0x07; 40][..]].concat();
    let heif = |brands: &[u8]| {
        let length = (8 + brands.len() as u32).to_be_bytes();
        [&length[..], b"ftyp", brands, b"\0\0\0\x10metaavif"].concat()
    };
    let office = |part: &[u8]| file(&[b"PK\x03\x04[Content_Types].xml", part].concat());
    let page = "\u{feff}\r\n<!DOCTYPE HTML><html><head><title>登录</title>".as_bytes();
    let gb18030 = b"<html><head><title>\xb5\xc7\xc2\xbc</title>";
    let cases: &[(&[u8], &str, &str)] = &[
        (&heif(b"heic\0\0\0\0mif1heic"), "HEIC", "Most Compatible"),
        (&heif(b"mif1\0\0\0\0mif1heixmiaf"), "HEIC", "Most Compatible"),
        (&heif(b"avif\0\0\0\0mif1avif"), "AVIF", "save it as a JPEG"),
        (&heif(b"mif1\0\0\0\0avifmif1"), "AVIF", "save it as a JPEG"),
        (&heif(b"isom\0\0\x02\0isommp42"), "a video", "Take a photo"),
        (&heif(b"qt  \0\0\0\0qt  "), "a video", "Take a photo"),
        (b"GIF89a\x01\0", "GIF", "save it as a JPEG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL", "save it as a JPEG"),
        (b"8BPS\0\x01", "Photoshop", "save it as a JPEG"),
        (b"%PDF-1.7\n", "a PDF document", "Take the photo out"),
        (&file(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), "office program", "Take the photo out"),
        (&office(b"word/document.xml"), "a Word document", "Take the photo out"),
        (&office(b"xl/workbook.xml"), "a workbook", "Take the photo out"),
        (&file(b"PK\x03\x04\x14\0W001.jpg"), "a ZIP archive", "Unpack it"),
        (&file(b"Rar!\x1a\x07"), "a RAR archive", "Unpack it"),
        (&file(b"\0\x05\x16\x07"), "macOS", "Copy the photo again"),
        (page, "a web page", "a login there"),
        (gb18030, "a web page", "a login there"),
        (b"<?xml version=\"1.0\"?><svg width=\"1\"/>", "an SVG drawing", "save it as a JPEG"),
        (b"data:image/jpeg;base64,/9j/4AAQ", "base64", "save it as a JPEG"),
        (b"{\"code\":401,\"message\":\"not logged in\"}", "a text", "Download"),
        (b"", "an empty file", "Copy the photo again"),
        (&[0; 5000], "a file of zeros", "Copy the photo again"),
    ];
    for (bytes, what, remedy) in cases {
        let error = Format::of(bytes).unwrap_err();
        assert!(error.to_string().contains(what), "{error}, expected {what}");
        assert!(error.remedy_of_photo().contains(remedy), "{error}: {}", error.remedy_of_photo());
    }
}

#[test]
fn the_bytes_decide_on_the_format() {
    let mut bmp = b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    assert_eq!(Format::of(&bmp), Ok(Format::Bmp));
    bmp[17] = b'x';
    assert!(Format::of(&bmp).is_err());
    for (bytes, format) in [
        (&b"\xff\xd8\xff\xdb\0\x43"[..], Format::Jpeg),
        (b"\x89PNG\r\n\x1a\n", Format::Png),
        (b"RIFF\x24\0\0\0WEBPVP8 ", Format::WebP),
        (b"II*\0\x08\0\0\0", Format::Tiff),
        (b"MM\0*\0\0\0\x08", Format::Tiff),
    ] {
        assert_eq!(Format::of(bytes), Ok(format));
    }
    assert!(Format::of(b"RIFF\x24\0\0\0WAVEfmt ").is_err());
}
