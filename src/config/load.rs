//! Reading the file.

use std::io;
use std::path::Path;

use super::document::Config;
use super::error::ConfigError;
use super::sources::within;
use crate::named_file;
use crate::store::backend::RepositoryPlace;

impl Config {
    /// Reads a configuration. Relative paths in it begin in its own folder.
    ///
    /// # Errors
    /// The file cannot be read, is not YAML, or has an unknown key or a value of another kind.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read { path: path.to_owned(), source };
        let text = String::from_utf8(named_file::read(path, named_file::MOST_OF_A_CONFIGURATION).map_err(failed)?)
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        let mut config = Self::parse(&text, path)?;
        config.folder = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
        let folder = config.folder.clone();
        let paths = [("repository", &mut config.repository), ("cluster.kubeconfig", &mut config.cluster.kubeconfig)];
        for (key, path) in paths {
            // A bucket lies in no folder.
            if let Some(path) = path.as_mut().filter(|path| !RepositoryPlace::is_bucket(path)) {
                *path = within(&folder, path, key)?;
            }
        }
        Ok(config)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        // An excerpt of the file in an error could show a secret that somebody wrote there against the rules.
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let location = error.location();
            ConfigError::Invalid {
                path: path.to_owned(),
                line: location.map_or(0, |location| location.line()),
                column: location.map_or(0, |location| location.column()),
                message: message(&error),
            }
        })
    }
}

/// The library's text, without the place (which the error has as a fact) and without advice to programmers.
fn message(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    text.split(", set DuplicateKeyPolicy").next().unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Config, ConfigError};

    fn refused(text: &str) -> (u64, u64, String) {
        match Config::parse(text, Path::new("snapback.yaml")) {
            Err(ConfigError::Invalid { line, column, message, .. }) => (line, column, message),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn an_empty_file_is_the_default() {
        for text in ["", "# nothing\n\n", "{}"] {
            let config = Config::parse(text, Path::new("snapback.yaml")).unwrap();
            assert!(config.etcd.is_none() && config.files.is_empty() && !config.capture.events, "{text}");
        }
    }

    #[test]
    fn an_error_has_its_line_and_column() {
        for (text, line, word) in [
            ("cluster:\n  contxt: prod\n", 2, "contxt"),
            ("etcd:\n  endpoints: [a]\n  interval: soon\n", 3, "soon"),
            ("capture: {events: perhaps}\n", 1, ""),
            ("files:\n  - label: a\n", 2, "path"),
            ("repository: a\nrepository: b\n", 2, "repository"),
            ("files: [\n", 1, ""),
        ] {
            let (found, column, message) = refused(text);
            assert_eq!(found, line, "{text}: {message}");
            assert!(column > 0 && message.contains(word) && !message.contains("at line"), "{text}: {message}");
        }
    }

    #[test]
    fn an_inline_secret_is_refused_with_the_reason_and_never_repeated() {
        for value in
            ["hunter2", "'hunter2'", "4242", "42.42", "[hunter2]", "{value: hunter2}", "{hunter2: x}", "|\n    hunter2"]
        {
            let text = format!("proxmox:\n  url: https://pve1\n  token: {value}\n");
            let (line, _, message) = refused(&text);
            assert!(line >= 3, "{value}: line {line}");
            assert!(!message.contains("hunter2") && !message.contains("42"), "{value}: {message}");
            assert!(message.contains("{env: NAME}"), "{value}: {message}");
        }
    }
}
