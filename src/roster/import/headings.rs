//! Which column is what. Headings are compared without case, width, spaces, brackets and signs.

use super::{Cell, HEADINGS_WITHIN, ImportError, Line, folded};

/// What a column may hold. The order is that of the table below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Id,
    Name,
    IdNumber,
    Team,
    Contractor,
    Trade,
    IdType,
    Gender,
    BirthDate,
    Phone,
    ValidFrom,
    ValidUntil,
    Consent,
    ConsentOn,
    ContractSigned,
    TrainedOn,
    BankTail,
}

/// How a field is called: in messages, and in files. The first two spellings are shown.
struct Known {
    field: Field,
    label: &'static str,
    spellings: &'static str,
}

/// Those that every row needs come first.
const REQUIRED: usize = 6;
const KNOWN: [Known; 17] = [
    Known {
        field: Field::Id,
        label: "id",
        spellings: "id 工号 编号 workerid workernumber workerno employeeid 员工编号 人员编号 工人编号 \
                    工人工号",
    },
    Known {
        field: Field::Name,
        label: "name",
        spellings: "name 姓名 workername fullname 工人姓名 人员姓名 员工姓名",
    },
    Known {
        field: Field::IdNumber,
        label: "id-number",
        spellings: "idnumber 身份证号 证件号码 证件号 身份证号码 公民身份号码 居民身份证号 \
                    居民身份证号码 身份证 idno idcard idcardno idcardnumber documentnumber",
    },
    Known {
        field: Field::Team,
        label: "team",
        spellings: "team 班组 班组名称 所属班组 所在班组 teamname crew gang",
    },
    Known {
        field: Field::Contractor,
        label: "contractor",
        spellings: "contractor 劳务公司 分包单位 参建单位 劳务单位 劳务企业 分包公司 分包企业 参建企业 \
                    用工单位 用人单位 所属单位 所属公司 单位 单位名称 employer company subcontractor \
                    contractorname",
    },
    Known {
        field: Field::Trade,
        label: "trade",
        spellings: "trade 工种 工种名称 岗位工种 tradename occupation",
    },
    Known {
        field: Field::IdType,
        label: "id-type",
        spellings: "idtype 证件类型 证件种类 证件名称 documenttype",
    },
    Known { field: Field::Gender, label: "gender", spellings: "gender 性别 sex" },
    Known {
        field: Field::BirthDate,
        label: "birth-date",
        spellings: "birthdate 出生日期 出生年月日 生日 dateofbirth birthday",
    },
    Known {
        field: Field::Phone,
        label: "phone",
        spellings: "phone 手机号 联系电话 手机号码 手机 电话 电话号码 联系方式 phonenumber mobile \
                    mobilenumber mobilephone telephone tel",
    },
    Known {
        field: Field::ValidFrom,
        label: "valid-from",
        spellings: "validfrom 进场日期 有效期起 进场时间 入场日期 入场时间 有效期自 有效期开始 \
                    有效期起始 有效期起始日期 有效期开始日期 entrydate startdate",
    },
    Known {
        field: Field::ValidUntil,
        label: "valid-until",
        spellings: "validuntil 退场日期 有效期止 退场时间 离场日期 离场时间 有效期至 有效期结束 \
                    有效期截止 有效期截止日期 有效期结束日期 validto exitdate enddate",
    },
    Known {
        field: Field::Consent,
        label: "consent",
        spellings: "consent 同意书编号 同意书 同意书号 知情同意书编号 人脸同意书编号 授权书编号 \
                    consentform consentformnumber consentformno consentnumber consentno formnumber",
    },
    Known {
        field: Field::ConsentOn,
        label: "consent-on",
        spellings: "consentdate 同意书日期 同意日期 同意书签订日期 同意书签署日期 consenton \
                    consentsigned dateofconsent",
    },
    Known {
        field: Field::ContractSigned,
        label: "contract-signed",
        spellings: "contractsigned 合同签订日期 合同日期 劳动合同签订日期 合同签订时间 contractdate \
                    contractsignedon contractsigneddate",
    },
    Known {
        field: Field::TrainedOn,
        label: "trained-on",
        spellings: "safetytraining 安全教育日期 培训日期 安全培训日期 安全教育时间 三级教育日期 \
                    三级安全教育日期 入场教育日期 教育日期 safetytrainingdate trainingdate training \
                    trainedon",
    },
    Known {
        field: Field::BankTail,
        label: "bank-tail",
        spellings: "banktail 工资卡尾号 银行卡尾号 工资卡后四位 银行卡后四位 卡号后四位 \
                    wageaccounttail bankcardtail",
    },
];

/// With so many columns known, a line is that of the headings.
pub(super) const ENOUGH: usize = 3;

impl Field {
    /// The field of that label: as the daemon calls it in a refusal.
    fn labelled(label: &str) -> Option<Field> {
        KNOWN.iter().find(|k| k.label == label).map(|k| k.field)
    }

    /// The field that a heading names. What stands in brackets may matter (`有效期（起）`) or not
    /// (`姓名（必填）`).
    pub(super) fn named(heading: &str) -> Option<Field> {
        let find = |text: &str| {
            let plain: String = text.chars().filter(|c| c.is_alphanumeric()).collect();
            KNOWN.iter().find(|k| k.spellings.split_whitespace().any(|s| s == plain))
        };
        let heading = folded(heading);
        let mut depth = 0_u32;
        let outside = |c: &char| {
            match c {
                '(' | '[' | '【' | '〔' | '〈' | '<' => depth += 1,
                ')' | ']' | '】' | '〕' | '〉' | '>' => {
                    depth = depth.saturating_sub(1);
                    return false;
                }
                _ => {}
            }
            depth == 0
        };
        let without: String = heading.chars().filter(outside).collect();
        find(&heading).or_else(|| find(&without)).map(|k| k.field)
    }
}

/// Where what stands.
#[derive(Debug)]
pub(super) struct Layout {
    /// How many lines the headings and what is above them take.
    pub above: usize,
    pub columns: Vec<Option<Field>>,
    pub ignored: Vec<String>,
    pub names: Names,
}

/// What the file calls each field, for whoever reads what is wrong with it.
#[derive(Debug, Default)]
pub struct Names(Vec<(Field, String)>);

impl Names {
    /// The heading as the file spells it. Of a column that the file does not have, a spelling that
    /// is known.
    pub(super) fn of(&self, field: Field) -> String {
        let own = self.0.iter().find(|(known, _)| *known == field).map(|(_, name)| name.clone());
        own.unwrap_or_else(|| {
            let known = KNOWN.iter().find(|k| k.field == field);
            let mut spellings = known.map_or("", |k| k.spellings).split_whitespace();
            let (english, chinese) = (spellings.next(), spellings.next());
            format!("{} ({})", chinese.unwrap_or_default(), english.unwrap_or_default())
        })
    }

    /// The same by the label of a field, which is itself where no column may hold it.
    pub fn called(&self, label: &str) -> String {
        Field::labelled(label).map_or_else(|| label.to_owned(), |field| self.of(field))
    }
}

fn fields(line: &Line) -> impl Iterator<Item = Option<Field>> {
    line.cells.iter().map(|cell| match cell {
        Cell::Text(text) => Field::named(text),
        _ => None,
    })
}

/// The line that holds the most headings, and how many.
fn best(lines: &[Line]) -> Option<(usize, usize)> {
    let counted = lines.iter().take(HEADINGS_WITHIN).map(|line| fields(line).flatten().count());
    // Of equals the first one.
    counted.enumerate().max_by_key(|(at, count)| (*count, std::cmp::Reverse(*at)))
}

/// Whether a line is one of headings, as on each page of a printed roster.
pub(super) fn again(line: &Line) -> bool {
    fields(line).flatten().count() >= ENOUGH
}

/// How many headings the best line of these has.
pub(super) fn most(lines: &[Line]) -> usize {
    best(lines).map_or(0, |(_, count)| count)
}

pub(super) fn find(lines: &[Line]) -> Result<Layout, ImportError> {
    let wrong = |problem: String| Err(ImportError::Headings(problem));
    let Some((at, line)) = best(lines)
        .filter(|(_, count)| *count > 0)
        .and_then(|(at, _)| lines.get(at).map(|line| (at, line)))
    else {
        return wrong(format!(
            "none of the first {HEADINGS_WITHIN} lines is one of headings; they must name at least {}",
            spelled(&KNOWN.iter().take(REQUIRED).collect::<Vec<_>>())
        ));
    };
    let columns: Vec<Option<Field>> = fields(line).collect();
    let heading = |at: usize| match line.cells.get(at) {
        Some(Cell::Text(text)) => text.trim().to_owned(),
        _ => String::new(),
    };
    for known in &KNOWN {
        let of_field = |(at, field): (usize, &Option<Field>)| {
            (*field == Some(known.field)).then(|| heading(at))
        };
        let twice: Vec<String> = columns.iter().enumerate().filter_map(of_field).collect();
        if twice.len() > 1 {
            return wrong(format!(
                "line {}: {} columns are the {}: {}; keep one of them",
                line.number,
                twice.len(),
                known.label,
                twice.join(", ")
            ));
        }
    }
    let missing: Vec<&Known> =
        KNOWN.iter().take(REQUIRED).filter(|known| !columns.contains(&Some(known.field))).collect();
    if !missing.is_empty() {
        return wrong(format!(
            "headings are missing in line {}: {}; other columns are optional",
            line.number,
            spelled(&missing)
        ));
    }
    let unknown = |(at, field): (usize, &Option<Field>)| match field {
        None => Some(heading(at)).filter(|h| !h.is_empty()),
        Some(_) => None,
    };
    let ignored = columns.iter().enumerate().filter_map(unknown).collect();
    // On one line, as it stands in a message.
    let one_line = |at| heading(at).split_whitespace().collect::<Vec<_>>().join(" ");
    let named = |(at, field): (usize, &Option<Field>)| Some(((*field)?, one_line(at)));
    let names = Names(columns.iter().enumerate().filter_map(named).collect());
    Ok(Layout { above: at + 1, columns, ignored, names })
}

/// The fields, and how each may be called.
fn spelled(known: &[&Known]) -> String {
    let one = |known: &&Known| {
        let spellings: Vec<&str> = known.spellings.split_whitespace().skip(1).take(3).collect();
        format!("{} ({})", known.label, spellings.join(", "))
    };
    known.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
pub(super) fn every_spelling() -> impl Iterator<Item = (Field, &'static str)> {
    KNOWN.iter().flat_map(|k| k.spellings.split_whitespace().map(|s| (k.field, s)))
}
