//! Where the Proxmox API listens.

use std::fmt;
use std::str::FromStr;

/// The API's port, unless the address says another (pve-manager, `PVE/Service/pveproxy.pm`).
const PORT: u16 = 8006;

/// A host and port that speak HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxmoxAddress {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// 8006 unless given.
    pub port: u16,
}

/// A text that is not `https://HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address is not `https://HOST` or `https://HOST:PORT`: {reason}")]
pub struct WrongAddress {
    /// What is wrong with it. The text itself is not repeated: it may hold a password.
    pub reason: &'static str,
}

impl FromStr for ProxmoxAddress {
    type Err = WrongAddress;

    fn from_str(text: &str) -> Result<Self, WrongAddress> {
        let wrong = |reason| WrongAddress { reason };
        let uri: http::Uri = text.trim().parse().map_err(|_| wrong("it cannot be read"))?;
        if uri.scheme_str() != Some("https") {
            return Err(wrong("the token would travel in clear without `https://`"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("it holds a user name; only an API token is taken, as `token`"));
        }
        if !matches!(uri.path().trim_end_matches('/'), "" | "/api2/json") || uri.query().is_some() {
            return Err(wrong("it has a path"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        Ok(Self { host: host.to_owned(), port: authority.port_u16().unwrap_or(PORT) })
    }
}

impl fmt::Display for ProxmoxAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ProxmoxAddress;

    #[test]
    fn an_address_has_the_api_port_unless_it_says_another() {
        for (text, shown) in [
            ("https://pve1", "pve1:8006"),
            ("https://10.0.0.5:443/", "10.0.0.5:443"),
            ("https://[fd00::1]/api2/json", "[fd00::1]:8006"),
        ] {
            assert_eq!(text.parse::<ProxmoxAddress>().unwrap().to_string(), shown);
        }
        for text in ["pve1", "http://pve1:8006", "https://root:secret@pve1", "https://pve1/other", ""] {
            let error = text.parse::<ProxmoxAddress>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
