//! A stand-in for an OpenID Connect provider (Keycloak, Dex): the three documents that an API server and a client with
//! a refresh token ask for, and tokens signed with ES256.
//!
//! True to the standards: OpenID Connect Discovery 1.0 (section 4), JWK (RFC 7517, RFC 7518 section 6.2), JWS in compact
//! form (RFC 7515; RFC 7518 section 3.4: the signature is r and s, 32 bytes each), refreshing (RFC 6749, section 6).
//! Not true: there is no login, and any client secret is the right one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::ByteString;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};

use crate::harness::https_stand_in::{HttpsStandIn, Request};

/// Who the tokens are for.
pub(super) const CLIENT_ID: &str = "snapback-tests";
/// The one refresh token that it takes.
pub(super) const REFRESH_TOKEN: &str = "refresh-hunter2";
/// Whose tokens it gives for it.
pub(super) const SUBJECT: &str = "person";

const HOUR: u64 = 3600;

/// A running issuer; it ends when it is dropped.
pub(super) struct OidcIssuer {
    server: HttpsStandIn,
    signer: Arc<Signer>,
    refreshed: Arc<AtomicU64>,
}

impl OidcIssuer {
    pub(super) fn start() -> Self {
        let signer = Arc::new(Signer { key: KeyPair::generate().unwrap() });
        let refreshed = Arc::new(AtomicU64::new(0));
        let (signing, counted) = (Arc::clone(&signer), Arc::clone(&refreshed));
        let server =
            HttpsStandIn::start("throwaway issuer", "localhost", move |request| answer(request, &signing, &counted));
        Self { server, signer, refreshed }
    }

    /// Its URL, as it stands in its tokens.
    pub(super) fn url(&self) -> String {
        self.server.url()
    }

    /// The authority of its certificate.
    pub(super) fn ca(&self) -> PathBuf {
        self.server.ca()
    }

    /// How often a refresh token was exchanged.
    pub(super) fn refreshed(&self) -> u64 {
        self.refreshed.load(Ordering::Relaxed)
    }

    /// A token that is valid for an hour.
    pub(super) fn token(&self) -> String {
        self.signer.token(&self.url(), now() + HOUR)
    }

    /// A token that was valid until an hour ago.
    pub(super) fn expired_token(&self) -> String {
        self.signer.token(&self.url(), now() - HOUR)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

fn answer(request: &Request, signer: &Signer, refreshed: &AtomicU64) -> Vec<u8> {
    // The client's own word for where this server is, so that it need not know its port.
    let issuer = format!("https://{}", request.header("host").unwrap_or_default());
    let (status, document) = match request.line.as_str() {
        "GET /.well-known/openid-configuration" => (
            "200 OK",
            json!({
                "issuer": issuer, "jwks_uri": format!("{issuer}/keys"), "token_endpoint": format!("{issuer}/token"),
                "authorization_endpoint": format!("{issuer}/login"), "response_types_supported": ["code"],
                "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
            }),
        ),
        "GET /keys" => ("200 OK", json!({ "keys": [signer.public_key()] })),
        "POST /token" if request.body.contains(&format!("refresh_token={REFRESH_TOKEN}")) => {
            refreshed.fetch_add(1, Ordering::Relaxed);
            let token = signer.token(&issuer, now() + HOUR);
            ("200 OK", json!({"access_token": "none", "token_type": "Bearer", "id_token": token}))
        }
        "POST /token" => ("400 Bad Request", json!({"error": "invalid_grant"})),
        _ => ("404 Not Found", json!({})),
    };
    let body = document.to_string();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

struct Signer {
    key: KeyPair,
}

impl Signer {
    fn public_key(&self) -> Value {
        // X9.62: 04, then both coordinates.
        let (x, y) = self.key.der_bytes()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "one", "x": base64url(x), "y": base64url(y)})
    }

    fn token(&self, issuer: &str, expires: u64) -> String {
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": "one"});
        let issued = expires - 2 * HOUR;
        let claims = json!({"iss": issuer, "aud": CLIENT_ID, "sub": SUBJECT, "iat": issued, "exp": expires});
        let signed = [header, claims].map(|part| base64url(part.to_string().as_bytes())).join(".");
        let signature = self.key.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", base64url(&fixed_size(&signature)))
    }
}

/// rcgen signs as X.509 wants it, SEQUENCE { INTEGER r, INTEGER s } in DER; JWS wants two numbers of 32 bytes.
fn fixed_size(der: &[u8]) -> Vec<u8> {
    let (r_length, rest) = (usize::from(der[3]), &der[4..]);
    let (r, rest) = rest.split_at(r_length);
    let s = &rest[2..];
    // An INTEGER has a zero in front where it would be negative, and none of the others.
    let padded = |number: &[u8]| {
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        [vec![0; 32 - number.len()], number.to_vec()].concat()
    };
    [padded(r), padded(s)].concat()
}

fn base64url(bytes: &[u8]) -> String {
    let text: String = serde_json::from_value(serde_json::to_value(ByteString(bytes.to_vec())).unwrap()).unwrap();
    text.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned()
}
