//! What lies below a request that got no answer: kube, hyper, rustls and the operating system each wrap the next.
//!
//! In: kube's error. Out: its meaning, with texts that hold nothing of a body or of a plugin's output.

use std::error::Error;
use std::io;

use kube::client::AuthError;

use super::error::TlsProblem;

/// Why there was no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TransportFault {
    TimedOut,
    Tls(TlsProblem),
    Credentials(String),
    Broken(String),
}

impl From<kube::Error> for TransportFault {
    fn from(error: kube::Error) -> Self {
        Self::of(&error)
    }
}

impl TransportFault {
    /// Looks through the whole chain for what says most.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut innermost = String::new();
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(fault) = meaning(error) {
                return fault;
            }
            innermost = error.to_string();
            // What an io::Error wraps is not its source.
            let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source());
        }
        Self::Broken(innermost)
    }
}

fn meaning(error: &(dyn Error + 'static)) -> Option<TransportFault> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(TransportFault::Tls(tls_problem(tls)));
    }
    if let Some(auth) = error.downcast_ref::<AuthError>() {
        return Some(TransportFault::Credentials(credentials(auth)));
    }
    if let Some(kube::Error::RustlsTls(tls)) = error.downcast_ref::<kube::Error>() {
        return Some(TransportFault::Tls(TlsProblem::Other { problem: tls.to_string() }));
    }
    let io = error.downcast_ref::<io::Error>()?;
    (io.kind() == io::ErrorKind::TimedOut).then_some(TransportFault::TimedOut)
}

fn tls_problem(error: &rustls::Error) -> TlsProblem {
    use rustls::CertificateError as Certificate;
    let problem = error.to_string();
    match error {
        // Authorities of Kubernetes often share one name, so that only the signature tells them apart.
        rustls::Error::InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature) => {
            TlsProblem::UnknownAuthority
        }
        rustls::Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => TlsProblem::WrongName { problem },
        rustls::Error::InvalidCertificate(
            Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. },
        ) => TlsProblem::NotNow { problem },
        _ => TlsProblem::Other { problem },
    }
}

/// A plugin's output may hold a token, and kube's own text quotes it.
fn credentials(error: &AuthError) -> String {
    match error {
        // kube's name of the command holds its arguments and environment as well.
        AuthError::AuthExecRun { out, .. } => {
            format!("the kubeconfig's exec plugin ended with {}; run it by hand to see why", out.status)
        }
        AuthError::AuthExecStart(error) => format!("the exec plugin could not be started: {error}"),
        AuthError::AuthExecParse(_) => "the exec plugin's output is no ExecCredential".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{TlsProblem, TransportFault};
    use std::io;

    #[test]
    fn what_is_wrapped_is_found() {
        let tls = io::Error::other(rustls::Error::DecryptError);
        assert_eq!(
            TransportFault::of(&tls),
            TransportFault::Tls(TlsProblem::Other { problem: "cannot decrypt peer's message".to_owned() })
        );
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert_eq!(TransportFault::of(&io::Error::other(unknown)), TransportFault::Tls(TlsProblem::UnknownAuthority));
        let late = io::Error::other(io::Error::from(io::ErrorKind::TimedOut));
        assert_eq!(TransportFault::of(&late), TransportFault::TimedOut);
        let gone = io::Error::other(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(TransportFault::of(&gone), TransportFault::Broken("connection refused".to_owned()));
    }
}
