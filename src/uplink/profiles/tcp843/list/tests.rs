use proptest::prelude::*;

use super::*;

const FORM: Form = Form { bcc: Bcc::Bytes, names: Names::Utf8, name: 10 };

/// An entry as a platform writes it.
fn entry(code: u32, name: &[u8], id_number: &str, form: Form) -> Vec<u8> {
    let mut entry = code.to_le_bytes().to_vec();
    let mut name = name.to_vec();
    name.resize(form.name, 0);
    entry.extend(name);
    let mut number = id_number.as_bytes().to_vec();
    number.resize(ID_NUMBER, 0);
    entry.extend(number);
    entry.extend([0; REST]);
    entry
}

fn list(entries: &[Vec<u8>]) -> Vec<u8> {
    [vec![b'P'; PROJECT], entries.concat()].concat()
}

fn frame(part: u32, parts: u32, content: Vec<u8>) -> Frame {
    Frame { part, parts, command: 849, session: [0; 16], content, failed: false }
}

const ID_A: &str = "110101199003070011";
const ID_B: &str = "522201198805112024";

#[test]
fn names_of_both_lengths_and_encodings_are_read() {
    let gbk = GBK.encode("刘峰").0.into_owned();
    for (form, name) in [
        (FORM, "刘峰".as_bytes()),
        (Form { names: Names::Gbk, ..FORM }, &gbk),
        (Form { name: 50, ..FORM }, "刘峰".as_bytes()),
    ] {
        let (workers, unreadable) = workers(&list(&[entry(4711, name, ID_A, form)]), form);
        let expected = Listed { code: 4711, name: "刘峰".into(), id_number: ID_A.into() };
        assert_eq!((workers, unreadable), (vec![expected], 0), "{form:?}");
    }
    assert_eq!(entry(1, b"", ID_A, FORM).len(), 41);
}

#[test]
fn a_name_that_fills_its_field_says_that_it_may_be_cut() {
    let read = |name: &[u8], form: Form| {
        let mut field = name.to_vec();
        field.resize(form.name, 0);
        super::name(&field, form.names)
    };
    // Three letters take 9 bytes; the fourth is cut after its first byte.
    assert_eq!(read("欧阳娜".as_bytes(), FORM).as_deref(), Some("欧阳娜"));
    assert_eq!(read(&"欧阳娜娜".as_bytes()[..10], FORM).as_deref(), Some("欧阳娜…"));
    let gbk = GBK.encode("阿卜杜拉江").0.into_owned();
    let form = Form { names: Names::Gbk, ..FORM };
    assert_eq!(read(&gbk, form).as_deref(), Some("阿卜杜拉江…"));
    // A letter that is broken within the field is not a cut.
    assert_eq!(read(b"\xe5\x88", FORM), None);
    assert_eq!(read(b"a\xff\xffb", FORM), None);
    assert_eq!(read(b"\x07", FORM), None);
    assert_eq!(read(b"  ", FORM), None);
}

#[test]
fn rotten_entries_are_counted_and_the_others_are_read() {
    let mut entries: Vec<_> = [(7, ID_A), (0, ID_B), (8, "110101199003070012"), (9, ID_B)]
        .map(|(code, number)| entry(code, "刘峰".as_bytes(), number, FORM))
        .into();
    entries.push(vec![0; 41]);
    entries.push(vec![0xff; 41]);
    entries.push(vec![1; 40]);
    let (workers, unreadable) = workers(&list(&entries), FORM);
    assert_eq!(workers.iter().map(|worker| worker.code).collect::<Vec<_>>(), [7, 9]);
    assert_eq!(unreadable, 5);
    assert_eq!(super::workers(&[0; 50], FORM), (Vec::new(), 0));
}

#[test]
fn a_list_in_parts_is_put_together_and_bounded() {
    let sealed = |bytes: &[u8]| Bcc::Bytes.sealed(bytes.to_vec());
    for first in [0, 1] {
        let mut parts = Parts::default();
        for n in 0..3 {
            let done = parts.add(Bcc::Bytes, &frame(first + n, 3, sealed(&[n as u8; 5]))).unwrap();
            let whole = [[0; 5], [1; 5], [2; 5]].concat();
            assert_eq!(done, (n == 2).then_some(whole), "counted from {first}");
            assert_eq!(parts.count > 0, n < 2);
        }
    }
    let mut parts = Parts::default();
    assert_eq!(parts.add(Bcc::Bytes, &frame(0, 0, sealed(b"x"))), Ok(Some(b"x".to_vec())));
    assert_eq!(parts.add(Bcc::Bytes, &frame(0, 0, Vec::new())), Ok(Some(Vec::new())));
    assert_eq!(parts.add(Bcc::Bytes, &frame(0, 0, vec![1, 2, 9])), Err(NoList::Bcc));
    let lost = NoList::Part { part: 5, parts: 9, expected: 1 };
    assert_eq!(parts.add(Bcc::Bytes, &frame(5, 9, sealed(b"x"))), Err(lost));
    // A list without an end is given up.
    let large = sealed(&vec![0; CONTENT_MAX - 1]);
    assert_eq!(parts.add(Bcc::Bytes, &frame(0, u32::MAX, large.clone())), Ok(None));
    assert_eq!(parts.add(Bcc::Bytes, &frame(1, u32::MAX, large)), Err(NoList::Long));
}

#[test]
fn a_list_of_ten_thousand_workers_fits() {
    for name in [10, 50] {
        let form = Form { name, ..FORM };
        let entries: Vec<_> = (1..=10_000).map(|code| entry(code, b"x", ID_A, form)).collect();
        let sealed = Bcc::Bytes.sealed(list(&entries));
        assert!(sealed.len() <= CONTENT_MAX);
        let whole = Parts::default().add(Bcc::Bytes, &frame(0, 0, sealed)).unwrap().unwrap();
        assert_eq!(workers(&whole, form).0.len(), 10_000);
    }
}

proptest! {
    #[test]
    fn any_list_is_read_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        gbk: bool,
        long: bool,
    ) {
        let names = if gbk { Names::Gbk } else { Names::Utf8 };
        let form = Form { bcc: Bcc::Bytes, names, name: if long { 50 } else { 10 } };
        let (workers, unreadable) = workers(&bytes, form);
        let size = 4 + form.name + ID_NUMBER + REST;
        let entries = bytes.len().saturating_sub(PROJECT).div_ceil(size);
        prop_assert_eq!(workers.len() + unreadable as usize, entries);
    }
}
