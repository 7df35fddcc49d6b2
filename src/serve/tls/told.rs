//! What a server is told of a client's certificate.

use http::HeaderValue;
use rustls_pki_types::CertificateDer;
use std::fmt::Write;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

/// The most names of each kind that are told.
const MOST: usize = 16;

/// In the form of Envoy's `x-forwarded-client-cert`: `Hash=<SHA-256>;Subject="<RFC 4514>";URI=<SAN>;DNS=<SAN>`. Where a
/// certificate cannot be read further, its hash alone.
pub(super) fn told(certificate: &CertificateDer<'_>) -> Option<HeaderValue> {
    let mut text = "Hash=".to_owned();
    for byte in aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate).as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    if let Ok((_, certificate)) = X509Certificate::from_der(certificate) {
        names(&mut text, &certificate);
    }
    HeaderValue::try_from(text).ok()
}

fn names(text: &mut String, certificate: &X509Certificate<'_>) {
    if let Some(subject) = subject(certificate.subject()) {
        let _ = write!(text, ";Subject={}", quoted(&subject));
    }
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = || names.iter().flat_map(|names| &names.value.general_names);
    let uris = names().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(("URI", *uri)),
        _ => None,
    });
    let hosts = names().filter_map(|name| match name {
        GeneralName::DNSName(host) => Some(("DNS", *host)),
        _ => None,
    });
    for (key, value) in uris.take(MOST).chain(hosts.take(MOST)) {
        let _ = match value.bytes().all(is_plain) {
            true => write!(text, ";{key}={value}"),
            false => write!(text, ";{key}={}", quoted(value)),
        };
    }
}

/// The subject as RFC 4514 has it, the last part first. None where a part is no text.
fn subject(name: &X509Name<'_>) -> Option<String> {
    let parts: Vec<_> = name.iter().collect();
    let mut text = String::new();
    for part in parts.iter().rev() {
        for (index, attribute) in part.iter().enumerate() {
            let separator = match (text.is_empty(), index) {
                (true, _) => "",
                (false, 0) => ",",
                (false, _) => "+",
            };
            text.push_str(separator);
            let oid = attribute.attr_type();
            match oid2abbrev(oid, oid_registry()) {
                Ok(short) => text.push_str(short),
                Err(_) => text.push_str(&oid.to_id_string()),
            }
            text.push('=');
            escape(&mut text, attribute.as_str().ok()?);
        }
    }
    Some(text)
}

/// A value that ends where it ends (RFC 4514, 2.4).
fn escape(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (index, char) in value.chars().enumerate() {
        let is_special = match char {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => true,
            '#' => index == 0,
            ' ' => index == 0 || index == last,
            _ => false,
        };
        if is_special {
            text.push('\\');
        }
        text.push(char);
    }
}

/// What ends no value and begins none.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b",;=\"\\".contains(&byte)
}

/// Nothing that stands in it can be taken for its end. What is no printable ASCII is percent-encoded.
fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for byte in text.bytes() {
        let _ = match byte {
            b'"' | b'\\' => write!(quoted, "\\{}", char::from(byte)),
            b' '..=b'~' if byte != b'%' => write!(quoted, "{}", char::from(byte)),
            _ => write!(quoted, "%{byte:02X}"),
        };
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    fn certificate(subject: &[(DnType, &str)], names: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.subject_alt_names = names;
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn value(certificate: &CertificateDer<'_>) -> String {
        let told = told(certificate).unwrap();
        let (hash, rest) = told.to_str().unwrap().split_once(';').unwrap();
        assert_eq!(hash.len(), "Hash=".len() + 64);
        rest.to_owned()
    }

    #[test]
    fn a_client_is_told_by_subject_and_names() {
        let names = vec![
            SanType::DnsName("client.test".try_into().unwrap()),
            SanType::URI("spiffe://test/client".try_into().unwrap()),
        ];
        let subject = [
            (DnType::OrganizationName, "Acme, Inc."),
            (DnType::CommonName, "a client"),
        ];
        assert_eq!(
            value(&certificate(&subject, names)),
            r#"Subject="CN=a client,O=Acme\\, Inc.";URI=spiffe://test/client;DNS=client.test"#
        );
    }

    #[test]
    fn a_subject_cannot_say_more_than_a_subject() {
        for (name, expected) in [
            ("x, O=Admins", r#"Subject="CN=x\\, O\\=Admins""#),
            ("x+O=Admins", r#"Subject="CN=x\\+O\\=Admins""#),
            ("x\";URI=forged", r#"Subject="CN=x\\\"\\;URI\\=forged""#),
            (" é\n%", r#"Subject="CN=\\ %C3%A9%0A%25""#),
            ("#\\", r#"Subject="CN=\\#\\\\""#),
        ] {
            let told = value(&certificate(&[(DnType::CommonName, name)], Vec::new()));
            assert_eq!(told, expected, "{name:?}");
        }
        let uri = SanType::URI("spiffe://a,By=forged;DNS=b".try_into().unwrap());
        let told = value(&certificate(&[], vec![uri]));
        assert_eq!(told, r#"Subject="";URI="spiffe://a,By=forged;DNS=b""#);
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_hash() {
        let told = told(&CertificateDer::from(vec![0; 9])).unwrap();
        assert!(told.to_str().unwrap().starts_with("Hash="));
        assert_eq!(told.len(), "Hash=".len() + 64);
    }
}
