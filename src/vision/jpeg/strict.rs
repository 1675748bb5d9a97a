//! Refuses a picture at the first sign that its pixel data are damaged.
//!
//! libjpeg reports damage as a warning, and fills the missing part with grey. That is right for a
//! camera's frame. From such a photo a worker would be enrolled without a part of the face.
//!
//! JPEG has no checksum. Damage shows where data do not follow the code, or where a scan has too few or
//! too many of them.

use std::panic::resume_unwind;

use mozjpeg_sys::{
    JWRN_EXTRANEOUS_DATA, JWRN_HIT_MARKER, JWRN_HUFF_BAD_CODE, JWRN_JPEG_EOF, JWRN_MUST_RESYNC,
    jpeg_common_struct, jpeg_decompress_struct, jpeg_error_mgr, jpeg_std_error,
};

/// Level at which libjpeg reports a warning.
const WARNING: i32 = -1;
/// Maximum number of bytes after a scan's data. Some encoders write one.
const LEFT_OVER: i32 = 1;

/// Returns the handlers for a decoder that unwinds with a `String` on damage, as `mozjpeg`'s own
/// handlers do on an error.
pub(super) fn handlers() -> jpeg_error_mgr {
    // SAFETY: the struct holds numbers and pointers, which may all be 0; jpeg_std_error sets them.
    let mut handlers: jpeg_error_mgr = unsafe {
        let mut handlers = std::mem::zeroed();
        jpeg_std_error(&mut handlers);
        handlers
    };
    handlers.error_exit = Some(give_up);
    handlers.emit_message = Some(heed);
    handlers
}

#[cold]
extern "C-unwind" fn give_up(_: &mut jpeg_common_struct) {
    end("its data are damaged");
}

fn end(why: &str) {
    // No panic: the hook for panics is not called.
    resume_unwind(Box::new(why.to_owned()));
}

extern "C-unwind" fn heed(decoder: &mut jpeg_common_struct, level: i32) {
    if level != WARNING {
        return;
    }
    // SAFETY: `handlers` are only given to decoders, and the decoder owns them.
    let (code, left_over, scans) = unsafe {
        let scans =
            (*std::ptr::from_mut(decoder).cast::<jpeg_decompress_struct>()).input_scan_number;
        let handlers = &mut *decoder.err;
        (handlers.msg_code, (*handlers.msg_parm.i())[0], scans)
    };
    let is = |warning| code == warning;
    if is(JWRN_HIT_MARKER) || is(JWRN_JPEG_EOF) || is(JWRN_MUST_RESYNC) {
        end("a part of it is missing");
    } else if is(JWRN_HUFF_BAD_CODE) {
        end("its data are damaged");
    } else if is(JWRN_EXTRANEOUS_DATA) && scans > 0 && left_over > LEFT_OVER {
        end("it has data that do not belong to it");
    }
}
