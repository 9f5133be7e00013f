//! When a client certificate stops being valid, read from its DER without an X.509 library.
//!
//! In: PEM. Out: `notAfter` of the first certificate, or `None` for what is no certificate: this only makes an error
//! clearer, so that it never fails. Source of the structure: RFC 5280, section 4.1.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const EXPLICIT_VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of validity of the first certificate in a PEM text.
pub(super) fn not_after(pem: &[u8]) -> Option<Timestamp> {
    let certificate = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    let (certificate, _) = element(certificate.as_ref(), SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    if let Some((_, rest)) = element(fields, EXPLICIT_VERSION) {
        fields = rest;
    }
    let (_serial, rest) = element(fields, INTEGER)?;
    let (_algorithm, rest) = element(rest, SEQUENCE)?;
    let (_issuer, rest) = element(rest, SEQUENCE)?;
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_not_before, rest) = time(validity)?;
    time(rest)?.0
}

/// Takes one element of a kind off the front: its content, and what follows.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (short, rest) = rest.split_first()?;
    let (length, rest) = if *short < 0x80 {
        (usize::from(*short), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
        (digits.iter().try_fold(0_usize, |length, digit| length.checked_mul(256)?.checked_add((*digit).into()))?, rest)
    };
    (*found == tag).then(|| rest.split_at_checked(length))?
}

/// Takes a time off the front; the time is `None` when its text is not one.
fn time(der: &[u8]) -> Option<(Option<Timestamp>, &[u8])> {
    let (text, four_digits, rest) = match element(der, UTC_TIME) {
        Some((text, rest)) => (text, false, rest),
        None => element(der, GENERALIZED_TIME).map(|(text, rest)| (text, true, rest))?,
    };
    Some((timestamp(text, four_digits), rest))
}

fn timestamp(text: &[u8], four_digits: bool) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match four_digits {
        true => text.to_owned(),
        // RFC 5280: two digits from 50 on are of the last century.
        false if text >= "50" => format!("19{text}"),
        false => format!("20{text}"),
    };
    DateTime::strptime("%Y%m%d%H%M%S", text).ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::{not_after, timestamp};

    /// openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -days 3650
    const PEM: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBbTCCAROgAwIBAgIUV2RN42iTp9fSeHGhyxD+/fiKItYwCgYIKoZIzj0EAwIw\n\
DDEKMAgGA1UEAwwBeDAeFw0yNjExMjMyMzU1MzlaFw0zNjExMjAyMzU1MzlaMAwx\n\
CjAIBgNVBAMMAXgwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASlfghsbd7TeFvk\n\
Hbeg+8hsv8YSIvdonX9S6RmK4q6JEg1nwMtwO0iRht9V7mzfjst8ii4xh1LDs9Kn\n\
SAzVEYYso1MwUTAdBgNVHQ4EFgQU5d41hmyYEajtM1iG/SuNdHX+VwkwHwYDVR0j\n\
BBgwFoAU5d41hmyYEajtM1iG/SuNdHX+VwkwDwYDVR0TAQH/BAUwAwEB/zAKBggq\n\
hkjOPQQDAgNIADBFAiEAqDAw3129PlNkfc45ZyqGbMRjehF/SIrc9xzMzaoKG/AC\n\
IAItLdS6j85HBZ8D5tBy4WlrkAZHupvqTsN1RbxJRtAz\n\
-----END CERTIFICATE-----";

    #[test]
    fn the_end_of_validity_is_read() {
        assert_eq!(not_after(PEM.as_bytes()).unwrap().to_string(), "2036-11-20T23:55:39Z");
        assert_eq!(not_after(b"nothing"), None);
        assert_eq!(not_after(PEM.replace("MII", "MAA").as_bytes()), None);
    }

    #[test]
    fn both_kinds_of_time_are_read() {
        assert_eq!(timestamp(b"491231235959Z", false).unwrap().to_string(), "2049-12-31T23:59:59Z");
        assert_eq!(timestamp(b"500101000000Z", false).unwrap().to_string(), "1950-01-01T00:00:00Z");
        assert_eq!(timestamp(b"21000101000000Z", true).unwrap().to_string(), "2100-01-01T00:00:00Z");
    }
}
