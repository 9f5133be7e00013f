//! The API token: who asks, and the secret that is never shown.

use std::fmt;

use http::HeaderValue;

/// An API token, `USER@REALM!ID=SECRET`.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// `USER@REALM!ID`, which may be shown.
    id: String,
    secret: String,
}

/// A text that is not `USER@REALM!ID=SECRET`. The text itself is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Proxmox token is not of the form `USER@REALM!TOKENID=SECRET`")]
pub struct WrongToken;

impl ApiToken {
    /// Takes `USER@REALM!ID=SECRET`, with or without `PVEAPIToken=` in front.
    ///
    /// # Errors
    /// The text has another form.
    pub fn parse(text: &str) -> Result<Self, WrongToken> {
        let text = text.trim();
        let text = text.strip_prefix("PVEAPIToken=").unwrap_or(text);
        let (id, secret) = text.split_once('=').ok_or(WrongToken)?;
        let (user, name) = id.split_once('!').ok_or(WrongToken)?;
        let well_formed = user.contains('@') && !name.is_empty() && !secret.is_empty();
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if well_formed && visible { Ok(Self { id: id.to_owned(), secret: secret.to_owned() }) } else { Err(WrongToken) }
    }

    /// Who asks: `USER@REALM!ID`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A text without the secret, wherever it stands in it.
    pub(super) fn hide_in(&self, text: &str) -> String {
        text.replace(&self.secret, "…")
    }

    pub(super) fn header(&self) -> Result<HeaderValue, WrongToken> {
        let mut value =
            HeaderValue::from_str(&format!("PVEAPIToken={}={}", self.id, self.secret)).map_err(|_| WrongToken)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiToken({}=…)", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::ApiToken;

    #[test]
    fn a_token_is_read_and_its_secret_never_shown() {
        let token = ApiToken::parse("PVEAPIToken=root@pam!backup=0a1b2c3d-secret\n").unwrap();
        assert_eq!(token.id(), "root@pam!backup");
        assert_eq!(token.header().unwrap(), "PVEAPIToken=root@pam!backup=0a1b2c3d-secret");
        assert!(!format!("{token:?} {:?}", token.header().unwrap()).contains("0a1b2c3d"));
        for wrong in ["", "root@pam=x", "root!backup=x", "root@pam!=x", "root@pam!b=", "root@pam!b=a b", "0a1b2c3d"] {
            assert!(ApiToken::parse(wrong).is_err(), "{wrong}");
        }
    }
}
