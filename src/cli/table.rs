//! Columns for people.

use comfy_table::{ContentArrangement, Table, presets};

/// Lays rows out in columns; nothing is wrapped or cut, so that what is printed can be searched.
pub(crate) fn columns(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Bytes with three digits: `1.23 MB`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut shown = UNITS[0];
    for unit in UNITS.iter().skip(1) {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        shown = unit;
    }
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$} {shown}")
}

/// A number with the right form of its noun: `1 object`, `2 objects`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = match noun.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{noun}s"),
    };
    if number == 1 { format!("1 {noun}") } else { format!("{} {plural}", thousands(number)) }
}

/// Digits in groups of three: `12,667`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::{bytes, columns, count};

    #[test]
    fn numbers_are_written_for_people() {
        let shown: Vec<String> = [0, 999, 1000, 9_994, 12_345, 999_499, 999_500, 48_000_000].map(bytes).to_vec();
        assert_eq!(shown, ["0 B", "999 B", "1.00 kB", "9.99 kB", "12.3 kB", "999 kB", "1.00 MB", "48.0 MB"]);
        assert_eq!(
            [count(1, "object"), count(12_667, "object"), count(2, "entry")],
            ["1 object", "12,667 objects", "2 entries"]
        );
    }

    #[test]
    fn columns_line_up_without_trailing_blanks() {
        let rows = vec![vec!["1".to_owned(), "b".to_owned()], vec!["10".to_owned(), String::new()]];
        assert_eq!(columns(&["no", "name"], rows), "no  name\n1   b\n10\n");
    }
}
