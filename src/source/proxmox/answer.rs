//! What Proxmox answers: `{"data": ...}`, and how it says no.

use serde_json::Value;

use super::token::ApiToken;

/// How much of a refusal is repeated.
const MESSAGE_CHARACTERS: usize = 300;

/// The `data` of a good answer; the error says where it stops being one, without repeating it.
pub(super) fn data(body: &[u8]) -> Result<Value, String> {
    let answer: Value = serde_json::from_slice(body)
        .map_err(|error| format!("{} at line {}, column {}", kind(&error), error.line(), error.column()))?;
    match answer {
        Value::Object(mut answer) => match answer.remove("data") {
            None | Some(Value::Null) => Err("it has no `data`".to_owned()),
            Some(data) => Ok(data),
        },
        _ => Err("it is not an object".to_owned()),
    }
}

fn kind(error: &serde_json::Error) -> &'static str {
    if error.is_eof() { "it ends too early" } else { "it is malformed" }
}

/// Why Proxmox refused: `message` of a newer version's answer, else what it wrote behind the status code (which is where
/// all versions put it), else the body. A token is never repeated, even if the other side does.
pub(super) fn message(body: &[u8], phrase: Option<&[u8]>, token: &ApiToken) -> String {
    let said = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|answer| Some(answer.get("message")?.as_str()?.to_owned()))
        .or_else(|| phrase.map(|phrase| String::from_utf8_lossy(phrase).into_owned()))
        .unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let said = said.lines().next().unwrap_or_default().trim();
    let said: String =
        token.hide_in(said).chars().filter(|character| !character.is_control()).take(MESSAGE_CHARACTERS).collect();
    if said.is_empty() { "no reason given".to_owned() } else { said }
}

/// Removes what changes with the clock: `next-run` is computed from the time of asking (`PVE/API2/Backup.pm`).
pub(super) fn without_clock(mut jobs: Value) -> Value {
    if let Value::Array(jobs) = &mut jobs {
        for job in jobs.iter_mut().filter_map(Value::as_object_mut) {
            job.remove("next-run");
        }
    }
    jobs
}

/// Orders storages by their name: Proxmox lists them in the order of a Perl hash, which changes from answer to answer.
pub(super) fn by_name(mut storages: Value) -> Value {
    if let Value::Array(storages) = &mut storages {
        storages.sort_by_cached_key(|storage| {
            storage.get("storage").and_then(Value::as_str).unwrap_or_default().to_owned()
        });
    }
    storages
}

/// Whether the token sees every storage: Proxmox leaves out the others without a word. `permissions` is the answer of
/// `access/permissions`, a map of path to privileges.
pub(super) fn sees_all_storages(permissions: &Value) -> bool {
    let grants = |path: &str| {
        ["Datastore.Audit", "Datastore.AllocateSpace"].iter().any(|privilege| {
            permissions.get(path).and_then(|granted| granted.get(privilege)).is_some_and(|it| !it.is_null())
        })
    };
    let storage_paths =
        permissions.as_object().into_iter().flat_map(|paths| paths.keys()).filter(|path| path.starts_with("/storage/"));
    grants("/storage") && storage_paths.into_iter().all(|path| grants(path))
}

/// Canonical JSON: keys sorted, numbers as written, no blanks.
pub(super) fn canonical(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            out.push(b'{');
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| name.as_bytes());
            for (index, (name, field)) in fields.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(Value::from(name.as_str()).to_string().as_bytes());
                out.push(b':');
                write(field, out);
            }
            out.push(b'}');
        }
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ApiToken, by_name, canonical, data, message, sees_all_storages, without_clock};

    #[test]
    fn an_answer_is_canonical_whatever_order_it_came_in() {
        let answer = br#"{"data":[{"b":1.10,"a":{"y":12345678901234567890123,"x":"\u00e4\n"}}]}"#;
        let written = String::from_utf8(canonical(&data(answer).unwrap())).unwrap();
        assert_eq!(written, "[{\"a\":{\"x\":\"ä\\n\",\"y\":12345678901234567890123},\"b\":1.10}]");
    }

    #[test]
    fn what_is_no_answer_says_so_without_being_repeated() {
        for wrong in [r#"{"data":[{"password":"hunter2"}"#, r#"["hunter2"]"#, r#"{"data":null}"#, "hunter2", ""] {
            let error = data(wrong.as_bytes()).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words_but_never_the_token() {
        let token = ApiToken::parse("root@pam!b=topsecret").unwrap();
        let new = br#"{"data":null,"message":"Permission check failed (/, Sys.Audit)\n"}"#;
        assert_eq!(message(new, Some(b"other"), &token), "Permission check failed (/, Sys.Audit)");
        assert_eq!(message(b"", Some(b"No ticket"), &token), "No ticket");
        assert_eq!(message(b"", None, &token), "no reason given");
        assert_eq!(message(b"bad token topsecret", None, &token), "bad token …");
    }

    #[test]
    fn nothing_depends_on_the_moment_of_asking() {
        let jobs = json!([{"id": "b", "next-run": 1_700_000_000, "schedule": "daily"}]);
        assert_eq!(without_clock(jobs), json!([{"id": "b", "schedule": "daily"}]));
        let storages = json!([{"storage": "nfs"}, {"storage": "local"}]);
        assert_eq!(by_name(storages), json!([{"storage": "local"}, {"storage": "nfs"}]));
    }

    #[test]
    fn storages_that_the_token_may_not_see_are_noticed() {
        let audit = json!({"Datastore.Audit": 1});
        assert!(sees_all_storages(&json!({"/": audit, "/storage": audit})));
        assert!(sees_all_storages(&json!({"/storage": {"Datastore.AllocateSpace": 0}, "/storage/nfs": audit})));
        assert!(!sees_all_storages(&json!({})));
        assert!(!sees_all_storages(&json!({"/": {"Sys.Audit": 1}, "/storage/nfs": audit})));
        assert!(!sees_all_storages(&json!({"/storage": audit, "/storage/nfs": {"VM.Audit": 1}})));
    }
}
