//! Certificates and keys of a throwaway cluster: three authorities (cluster, etcd, front proxy) as kubeadm has them, and
//! what each server and client needs from them. All keys are EC P-256.
//!
//! A server's certificate is for 127.0.0.1 and not for a port, so a copied `pki` folder serves a cluster on other ports.

use std::net::{IpAddr, Ipv4Addr};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::error::RigError;
use crate::layout::{Layout, write_private};

/// The cluster's authority: the API server's certificate and every client's.
pub const CLUSTER_CA: &str = "ca";
/// etcd's authority, for its server, its peers and its clients.
pub const ETCD_CA: &str = "etcd-ca";
/// The authority of the aggregator's client certificate.
pub const FRONT_PROXY_CA: &str = "front-proxy-ca";
/// The name of the key that service-account tokens are signed with.
pub const SERVICE_ACCOUNT: &str = "service-account";

/// A certificate with its private key, as PEM texts.
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS 8.
    pub key: String,
}

/// How long a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// For longer than any test lives.
    Current,
    /// It ended in 2020: for tests of what an expired certificate does.
    Expired,
}

/// Makes every certificate and key of a new cluster in its `pki` folder.
///
/// # Errors
/// [`RigError::Certificate`] or [`RigError::File`].
pub fn create_all(layout: &Layout) -> Result<(), RigError> {
    for ca in [CLUSTER_CA, ETCD_CA, FRONT_PROXY_CA] {
        let key = KeyPair::generate().map_err(certificate_error(ca))?;
        let certificate = authority(ca).self_signed(&key).map_err(certificate_error(ca))?;
        write_private(&layout.certificate(ca), certificate.pem().as_bytes())?;
        write_private(&layout.key(ca), key.serialize_pem().as_bytes())?;
    }
    let signing = KeyPair::generate().map_err(certificate_error(SERVICE_ACCOUNT))?;
    write_private(&layout.key(SERVICE_ACCOUNT), signing.serialize_pem().as_bytes())?;
    write_private(&layout.pki().join("service-account.pub"), signing.public_key_pem().as_bytes())?;

    for (ca, name) in [(CLUSTER_CA, "kube-apiserver"), (ETCD_CA, "etcd-server"), (ETCD_CA, "etcd-peer")] {
        save(layout, name, &issue(layout, ca, &server(name))?)?;
    }
    for (ca, name, user, group) in [
        (ETCD_CA, "etcd-client", "etcd-client", None),
        (FRONT_PROXY_CA, "front-proxy-client", "front-proxy-client", None),
        (CLUSTER_CA, "admin", "kubernetes-admin", Some("system:masters")),
        (CLUSTER_CA, "kube-controller-manager", "system:kube-controller-manager", None),
        (CLUSTER_CA, "kube-scheduler", "system:kube-scheduler", None),
    ] {
        save(layout, name, &issue(layout, ca, &client(user, group, Validity::Current))?)?;
    }
    Ok(())
}

/// A new client certificate of the cluster's authority, for a user and a group of one's own choosing.
///
/// # Errors
/// [`RigError::Certificate`] or [`RigError::File`].
pub fn issue_client(
    layout: &Layout,
    user: &str,
    group: Option<&str>,
    validity: Validity,
) -> Result<ClientCertificate, RigError> {
    issue(layout, CLUSTER_CA, &client(user, group, validity))
}

/// A new client certificate of etcd's authority.
///
/// # Errors
/// [`RigError::Certificate`] or [`RigError::File`].
pub fn issue_etcd_client(layout: &Layout, user: &str, validity: Validity) -> Result<ClientCertificate, RigError> {
    issue(layout, ETCD_CA, &client(user, None, validity))
}

fn save(layout: &Layout, name: &str, made: &ClientCertificate) -> Result<(), RigError> {
    write_private(&layout.certificate(name), made.certificate.as_bytes())?;
    write_private(&layout.key(name), made.key.as_bytes())
}

fn issue(layout: &Layout, ca: &str, params: &CertificateParams) -> Result<ClientCertificate, RigError> {
    let path = layout.key(ca);
    let ca_key = std::fs::read_to_string(&path).map_err(RigError::file("read", &path))?;
    let ca_key = KeyPair::from_pem(&ca_key).map_err(certificate_error(ca))?;
    // The authority's certificate follows from its name and key alone, so it need not be parsed.
    let issuer = Issuer::new(authority(ca), ca_key);
    let key = KeyPair::generate().map_err(certificate_error(ca))?;
    let certificate = params.signed_by(&key, &issuer).map_err(certificate_error(ca))?;
    Ok(ClientCertificate { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(&format!("throwaway {name}"), None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn server(name: &str) -> CertificateParams {
    let mut params = named(name, None);
    params.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
    for host in ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"] {
        if let Ok(host) = host.try_into() {
            params.subject_alt_names.push(SanType::DnsName(host));
        }
    }
    // etcd's server also calls itself, as a client of its own gRPC gateway.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn client(user: &str, group: Option<&str>, validity: Validity) -> CertificateParams {
    let mut params = named(user, group);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if validity == Validity::Expired {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    params
}

fn named(common_name: &str, organization: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // The last year that a certificate's short form of a date can hold (RFC 5280, 4.1.2.5).
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 1, 1);
    params
}

fn certificate_error(subject: &str) -> impl FnOnce(rcgen::Error) -> RigError + use<> {
    let subject = subject.to_owned();
    move |source| RigError::Certificate { subject, source }
}
