//! A generated roster: its rows, their photos, and the expected result of each row.

use std::{collections::BTreeMap, fs, path::Path};

use image::{DynamicImage, GrayImage, RgbImage, imageops};

use crate::common::camera;

pub const ENGLISH: [&str; 14] = [
    "id",
    "name",
    "id type",
    "id number",
    "gender",
    "team",
    "contractor",
    "trade",
    "phone",
    "valid from",
    "valid until",
    "consent",
    "safety training",
    "remark",
];
pub const CHINESE: [&str; 14] = [
    "工号",
    "姓名（必填）",
    "证件类型",
    "身份证号码",
    "性别",
    "班组",
    "参建单位",
    "工种",
    "手机号",
    "进场日期",
    "有效期（止）",
    "同意书编号",
    "安全教育日期",
    "备注",
];

/// Returns the usable photos: person and number.
pub fn faces() -> impl Iterator<Item = (usize, usize)> {
    // The package's files were converted as text, which replaced each line feed by two bytes. Two
    // files cannot be repaired. On the third photo the face is turned away.
    let whole = |face: &(usize, usize)| ![(9, 8), (8, 10), (26, 5)].contains(face);
    (1..=10).flat_map(|number| (1..=40).map(move |person| (person, number))).filter(whole)
}

fn face((person, number): (usize, usize)) -> GrayImage {
    let dir = std::env::var_os("GATEHOUSE_TEST_FACES").expect(
        "GATEHOUSE_TEST_FACES must name the folder of faces: run tests/run, which fetches them",
    );
    let path = Path::new(&dir).join(format!("s{person}/{number}.pgm"));
    let bytes =
        fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}; use tests/run", path.display()));
    let text_mode = bytes.starts_with(b"P5\r\n");
    let follows = |at: usize| bytes.get(at + 1) == Some(&b'\n');
    let whole =
        bytes.iter().enumerate().filter(|(at, b)| !(text_mode && **b == b'\r' && follows(*at)));
    let whole: Vec<u8> = whole.map(|(_, byte)| *byte).collect();
    let pixels = &whole[b"P5\n92 112\n255\n".len()..];
    GrayImage::from_raw(92, 112, pixels.to_vec()).expect("92 x 112 pixels")
}

/// Returns a JPEG with these faces side by side.
pub fn photo(faces: &[(usize, usize)]) -> Vec<u8> {
    let width = 20 + 112 * faces.len() as u32;
    let mut picture = RgbImage::from_pixel(width, 152, image::Rgb([110; 3]));
    for (at, one) in faces.iter().enumerate() {
        let one = DynamicImage::from(face(*one)).to_rgb8();
        imageops::replace(&mut picture, &one, 20 + 112 * at as i64, 20);
    }
    camera::jpeg(&picture)
}

/// Returns a resident ID number with its check digit.
fn id_number(sequence: usize) -> String {
    let seventeen = format!("52220119{:02}0307{:03}", 60 + sequence / 900, 100 + sequence % 900);
    // ISO 7064, MOD 11-2.
    let sum = seventeen.bytes().fold(0, |sum, b| (sum + u32::from(b - b'0')) * 2 % 11);
    format!("{seventeen}{}", char::from(b"0123456789X"[((12 - sum) % 11) as usize]))
}

/// The expected result of a row.
#[derive(Clone, Debug)]
pub enum Must {
    /// The worker is enrolled with this number of templates.
    Enroll(u64),
    Refuse(&'static str),
}

#[derive(Clone)]
pub struct Row {
    pub cells: [String; 14],
    must: Must,
}

/// A roster and its photos.
pub struct Plan {
    pub rows: Vec<Row>,
    pub photos: BTreeMap<String, Vec<u8>>,
}

impl Plan {
    /// Returns a roster of correct workers. Each has a photo named by id, ID number or name.
    pub fn good(count: usize) -> Plan {
        let mut plan = Plan { rows: Vec::new(), photos: BTreeMap::new() };
        for (at, one) in faces().take(count).enumerate() {
            let row = plan.worker(at);
            let stem = [&row.cells[0], &row.cells[1], &row.cells[3]][at % 3];
            let name = match at % 4 {
                0 => format!("{stem}.jpg"),
                1 => format!("{}_1.JPG", stem.to_lowercase()),
                2 => format!("{stem}-2.jpeg"),
                _ => format!("{stem}/front.jpg"),
            };
            plan.photos.insert(name, photo(&[one]));
            plan.rows.push(row);
        }
        plan
    }

    /// Returns a correct row without its photo.
    fn worker(&self, at: usize) -> Row {
        let id = format!("W{at:03}");
        let cells = [
            id.clone(),
            format!("刘㐂峰{at}"),
            String::new(),
            id_number(at),
            String::new(),
            format!("钢筋{}班", at % 7),
            "福鼎, \"一\" 劳务".to_owned(),
            "钢筋工".to_owned(),
            format!("1380000{at:04}"),
            "2026年1月1日".to_owned(),
            "2030/12/31".to_owned(),
            format!("C-{at}"),
            "20260101".to_owned(),
            "no column\nof ours".to_owned(),
        ];
        Row { cells, must: Must::Enroll(1) }
    }

    /// Adds a row with this change, and these photos under its id.
    fn add(&mut self, must: Must, change: impl FnOnce(&mut [String; 14]), photos: &[Vec<u8>]) {
        let mut row = self.worker(800 + self.rows.len());
        for (number, photo) in (1..).zip(photos) {
            self.photos.insert(format!("{}_{number}.jpg", row.cells[0]), photo.clone());
        }
        change(&mut row.cells);
        row.must = must;
        self.rows.push(row);
    }

    /// Adds rows with one fault each, and a few rows that only look faulty.
    pub fn add_bad(&mut self) {
        use Must::{Enroll, Refuse};
        let mut spare = faces().skip(self.rows.len()).map(|one| photo(&[one]));
        let mut one = || vec![spare.next().unwrap()];
        let keep = |_: &mut [String; 14]| {};
        self.add(
            Refuse("身份证号码: does not fit its check digit"),
            |c| {
                let last = if c[3].ends_with('1') { "2" } else { "1" };
                c[3].replace_range(17.., last);
            },
            &one(),
        );
        self.add(Refuse("the worker's consent"), |c| c[11].clear(), &one());
        self.add(Refuse("There are 2 faces in the photo"), keep, &[photo(&[(1, 1), (2, 1)])]);
        self.add(Refuse("There is no face in the photo"), keep, &[photo(&[])]);
        self.add(Refuse("it is a text, not a photo"), keep, &[b"no picture".to_vec()]);
        self.add(Refuse("a photo has at most 16 MiB"), keep, &[vec![0; (16 << 20) + 1]]);
        self.add(Refuse("6 photos of this worker"), keep, &vec![photo(&[(1, 1)]); 6]);
        self.add(
            Refuse("证件类型: \"driving licence\" is none of"),
            |c| {
                c[2] = "driving licence".into();
            },
            &one(),
        );
        // Two rows with one id, or one ID number, are both refused.
        for _ in 0..2 {
            self.add(Refuse("工号: is also in row"), |c| c[0] = "TWICE".into(), &[]);
            self.add(Refuse("身份证号码: is also in row"), |c| c[3] = id_number(9_999), &one());
        }
        let taken = photo(&[faces().nth(3).unwrap()]);
        self.add(Refuse("is already enrolled, as worker W003"), keep, &[taken]);
        self.add(
            Refuse("姓名（必填）: is a formula"),
            |c| c[1] = "=HYPERLINK(\"x\")".into(),
            &one(),
        );
        self.add(
            Refuse("进场日期: \"2026-02-30\" is no date"),
            |c| {
                c[9] = "2026-02-30".into();
            },
            &one(),
        );
        self.add(
            Refuse("有效期（止）: 2025-12-31 is before"),
            |c| c[10] = "2025-12-31".into(),
            &one(),
        );
        self.add(Refuse("班组: is missing"), |c| c[5].clear(), &one());
        self.add(
            Refuse("性别: is not the one in the ID number"),
            |c| {
                let man = (c[3].as_bytes()[16] - b'0') % 2 == 1;
                c[4] = if man { "女" } else { "男" }.into();
            },
            &one(),
        );
        for _ in 0..2 {
            self.add(Refuse("the name is ambiguous"), |c| c[1] = "王伟".into(), &[]);
        }
        self.photos.insert("王伟.jpg".into(), one().remove(0));
        self.add(Enroll(0), |c| c[11].clear(), &[]);
        let (name, both) = ("O'Neill \"Bo\", Jr.", [one(), one()].concat());
        self.add(Enroll(1), |c| c[1] = name.into(), &both[..1]);
        self.add(
            Enroll(1),
            |c| {
                c[2] = "护照".into();
                c[3] = " e12345678\u{a0}".into();
            },
            &both[1..],
        );
        self.photos.insert("stranger.jpg".into(), photo(&[(1, 1)]));
    }

    pub fn write_photos(&self, dir: &Path) {
        for (name, bytes) in &self.photos {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    pub fn csv(&self, headings: &[&str], separator: u8) -> String {
        let mut csv = csv::WriterBuilder::new().delimiter(separator).from_writer(Vec::new());
        csv.write_record(headings).unwrap();
        self.rows.iter().for_each(|row| csv.write_record(&row.cells).unwrap());
        String::from_utf8(csv.into_inner().unwrap()).unwrap()
    }

    pub fn workbook(&self, path: &Path) {
        let mut workbook = rust_xlsxwriter::Workbook::new();
        workbook.add_worksheet().write(0, 0, "填表说明").unwrap();
        let sheet = workbook.add_worksheet();
        sheet.write(0, 0, "福鼎项目花名册").unwrap();
        for (column, heading) in (0..).zip(CHINESE) {
            sheet.write(1, column, heading).unwrap();
        }
        for (line, row) in (2..).zip(&self.rows) {
            for (column, cell) in (0..).zip(&row.cells) {
                sheet.write(line, column, cell).unwrap();
            }
        }
        workbook.save(path).unwrap();
    }

    /// Asserts that the report has the expected result for each row.
    pub fn assert_held(&self, report: &Path, headings: &[&str], again: Option<&str>) {
        let text = fs::read_to_string(report).unwrap();
        let text = text.strip_prefix('\u{feff}').expect("the byte order mark for Excel");
        for row in &self.rows {
            assert!(!text.contains(&row.cells[3]), "an ID number in the report");
        }
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let reported: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(reported.len(), self.rows.len());
        for (row, said) in self.rows.iter().zip(&reported) {
            assert!(said[1].is_empty() || said[1] == row.cells[0], "{said:?}");
            match &row.must {
                Must::Enroll(templates) => {
                    assert_eq!(&said[3], again.unwrap_or("enrolled"), "{said:?}");
                    assert_eq!(said[5], templates.to_string(), "{said:?}");
                    assert_eq!(said[4].contains("guard must"), *templates == 0, "{said:?}");
                }
                Must::Refuse(why) => {
                    // The reason names the heading, which is English in some files.
                    let (heading, problem) = why.split_once(": ").unwrap_or(("", why));
                    let at = CHINESE.iter().position(|chinese| *chinese == heading);
                    let why =
                        at.map_or((*why).to_owned(), |at| format!("{}: {problem}", headings[at]));
                    assert!(&said[3] == "refused" && said[4].contains(&why), "{said:?}: {why}");
                    assert!(!said[4].contains("--"), "an option in the report: {said:?}");
                    assert_eq!(&said[5], "");
                }
            }
        }
    }

    pub fn good_rows(&self) -> usize {
        self.rows.iter().filter(|row| matches!(row.must, Must::Enroll(_))).count()
    }
}
