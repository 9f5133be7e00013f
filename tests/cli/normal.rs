//! Texts that differ from run to run, brought into one form so that they can be compared whole.

/// Replaces times, sizes, seconds, revisions, UIDs and ids; everything else is left as it was printed.
pub(super) fn normal(text: &str) -> String {
    text.split('\n').map(normal_line).collect::<Vec<_>>().join("\n")
}

fn normal_line(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    // Rows of `show` whose numbers come from the cluster.
    let counted = ["revision", "holds"].contains(&line.split_whitespace().next().unwrap_or_default());
    let mut out: Vec<String> = Vec::with_capacity(words.len());
    for (index, word) in words.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| words.get(index)).copied().unwrap_or_default();
        let after = words.get(index + 1).copied().unwrap_or_default();
        let bare = word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
        let unit = after.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
        let name = match bare {
            _ if is_timestamp(bare) => "TIME",
            _ if is_date(bare) => "DATE",
            _ if is_clock(bare) => "CLOCK",
            _ if is_uid(bare) => "UID",
            _ if is_hash(bare) => "HASH",
            _ if is_id(bare) => "ID",
            _ if is_number(bare) && matches!(unit, "B" | "kB" | "MB" | "s") => "N",
            // Two writes within one second leave one time fewer in managedFields.
            _ if is_number(bare) && words.iter().skip(index + 1).take(3).any(|word| word.contains("noise")) => "N",
            // How many it takes depends on who wrote in between.
            _ if is_number(bare) && unit.starts_with("write") => "N",
            _ if is_number(bare) && (counted || unit == "read" || before == "revision") => "N",
            _ => {
                out.push((*word).to_owned());
                continue;
            }
        };
        out.push(word.replacen(bare, name, 1));
    }
    let line = out.join(" ");
    // Units and the widths of columns follow the numbers in front of them.
    let line = line.replace("N kB", "N B").replace("N MB", "N B").replace("N field of noise", "N fields of noise");
    let head = line.len() - line.trim_start().len();
    let (indentation, rest) = line.split_at(head);
    let columns: Vec<&str> = rest.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect();
    if columns.len() > 2 { format!("{indentation}{}", columns.join("  ")) } else { line }
}

fn is_number(word: &str) -> bool {
    word.starts_with(|letter: char| letter.is_ascii_digit())
        && word.chars().all(|letter| letter.is_ascii_digit() || matches!(letter, '.' | ','))
}

fn is_hex(word: &str) -> bool {
    word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_id(word: &str) -> bool {
    word.len() == 8 && is_hex(word)
}

fn is_hash(word: &str) -> bool {
    word.len() == 64 && is_hex(word)
}

fn is_uid(word: &str) -> bool {
    let parts: Vec<usize> = word.split('-').map(|part| if is_hex(part) { part.len() } else { 0 }).collect();
    parts == [8, 4, 4, 4, 12]
}

fn shape(word: &str) -> String {
    word.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect()
}

fn is_date(word: &str) -> bool {
    shape(word) == "0000-00-00"
}

fn is_clock(word: &str) -> bool {
    shape(word) == "00:00:00"
}

fn is_timestamp(word: &str) -> bool {
    shape(word) == "0000-00-00T00:00:00Z"
}
