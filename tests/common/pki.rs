//! Certificates for one test, signed by the test's own authority.

use std::{os::unix::fs::PermissionsExt, path::Path};

use jiff::{ToSpan, civil::Date, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key, in PEM.
pub struct Signed {
    pub cert: String,
    pub key: String,
}

/// Returns the date this number of days from today, in UTC.
pub fn day(days: i32) -> Date {
    jiff::Timestamp::now().to_zoned(TimeZone::UTC).date() + days.days()
}

/// Returns a certificate for these names, valid from the first to the last of these days.
fn params(names: &[&str], (from, until): (i32, i32)) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let time = |day: Date| {
        date_time_ymd(day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs())
    };
    let mut params = CertificateParams::new(names).unwrap();
    (params.not_before, params.not_after) = (time(day(from)), time(day(until)));
    params
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = params(&[], (-10, 3650));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    pub fn sign(&self, names: &[&str]) -> Signed {
        self.sign_for(names, (-10, 365))
    }

    /// Signs a certificate that is valid between these two days, counted from today.
    pub fn sign_for(&self, names: &[&str], days: (i32, i32)) -> Signed {
        let key = KeyPair::generate().unwrap();
        let mut params = params(names, days);
        params.distinguished_name.push(DnType::CommonName, names[0]);
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Signed { cert, key: key.serialize_pem() }
    }
}

/// Makes a certificate that signs itself. `authority`: it is an authority, as `openssl req -x509`
/// makes.
pub fn self_signed(names: &[&str], authority: bool) -> Signed {
    let key = KeyPair::generate().unwrap();
    let mut params = params(names, (-10, 365));
    if authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let cert = params.self_signed(&key).unwrap().pem();
    Signed { cert, key: key.serialize_pem() }
}

impl Signed {
    /// Writes `NAME.pem` and `NAME.key`; only the owner may read the key.
    pub fn write(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.pem")), &self.cert).unwrap();
        let key = folder.join(format!("{name}.key"));
        std::fs::write(&key, &self.key).unwrap();
        std::fs::set_permissions(key, PermissionsExt::from_mode(0o600)).unwrap();
    }
}
