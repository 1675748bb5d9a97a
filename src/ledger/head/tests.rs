//! Tests of signed heads.

use super::*;

fn key(byte: u8) -> SigningKey {
    SigningKey::of_bytes(byte)
}

fn head() -> Head {
    Head {
        ledger: LedgerId([7; 16]),
        size: 1_300_000,
        root: [9; 32],
        at_ms: 1_790_000_000_000,
        synced: true,
        gateway: "gate-1".to_owned(),
    }
}

/// If this fails, change the code: platforms hold such heads.
#[test]
fn the_bytes_of_a_signed_head_never_change() {
    let signed = head().sign(&key(1)).unwrap().bytes;
    assert_eq!(hex::encode(&signed), FROZEN);
    assert_eq!(Head::verify(&signed, &key(1).public()), Ok(head()));
}

const FROZEN: &str = "d2845826a2012704582034750f98bd59fcfc946da45aaabe933be154a4b5094e1c4abf42866505f3c97ea0587a\
    a86176016261741b000001a0c4506c0063616c670164726f6f7458200909090909090909090909090909090909\
    090909090909090909090909090909666c656467657250070707070707070707070707070707076673796e6365\
    64f5676761746577617966676174652d3169747265655f73697a651a0013d620584045079a0266507eddc9fb9e\
    92e02314d21d3f65365f9e85baa84cc8f379f9400eb030654b570c5c30c2704ac1f7c8cb643fa71f28ca9f121c\
    a5ddebf3950af302";

#[test]
fn a_head_of_another_key_is_refused_with_that_key() {
    let signed = head().sign(&key(1)).unwrap().bytes;
    let other = HeadError::OtherKey(key(1).public().fingerprint().to_vec());
    assert_eq!(Head::verify(&signed, &key(2).public()), Err(other));
}

#[test]
fn one_bit_flipped_anywhere_in_a_head_is_refused() {
    let (signed, public) = (head().sign(&key(1)).unwrap().bytes, key(1).public());
    for bit in 0..signed.len() * 8 {
        let mut altered = signed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(Head::verify(&altered, &public).is_err(), "bit {bit}");
    }
    for end in 0..signed.len() {
        assert!(Head::verify(&signed[..end], &public).is_err(), "cut at {end}");
    }
    assert!(Head::verify(&[&signed[..], &[0]].concat(), &public).is_err());
}
