//! Figures and foreign text as people read them. Shared by the text and the screen.

use std::borrow::Cow;

/// Bytes in binary units with three significant digits: `0 B`, `999 B`, `1.50 KiB`, `12.3 MiB`, `1000 GiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", three_digits(value), UNITS[unit])
}

/// As [`bytes`], for figures that may be negative.
pub(crate) fn signed_bytes(figure: i64) -> String {
    let sign = if figure < 0 { "-" } else { "" };
    format!("{sign}{}", bytes(figure.unsigned_abs()))
}

/// A change in bytes: always with its sign, except where there is none.
pub(crate) fn signed_change(bytes: i64) -> String {
    match bytes {
        0 => "0".to_owned(),
        1.. => format!("+{}", signed_bytes(bytes)),
        _ => signed_bytes(bytes),
    }
}

/// A count with thin groups: `1234567` is `1,234,567`.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A rate or count in three significant digits: `0`, `12.3`, `4.56 k`, `7.89 M`.
pub(crate) fn short(value: f64) -> String {
    const UNITS: [&str; 5] = ["", " k", " M", " G", " T"];
    let sign = if value < 0.0 { "-" } else { "" };
    let mut value = value.abs();
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value == 0.0 { "0".into() } else { three_digits(value) };
    format!("{sign}{digits}{}", UNITS[unit])
}

/// A share in per cent: `12.5 %`; a dash where `whole` is 0.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".into() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}

/// A share in whole per cent, for columns: `12%`, and `>999%` or `<-999%` beyond three digits.
pub(crate) fn share(share: f64) -> String {
    // Adding zero turns the -0 that a small negative share is rounded to into 0.
    let percent = (share * 100.0).round() + 0.0;
    match percent {
        percent if percent > 999.0 => ">999%".to_owned(),
        percent if percent < -999.0 => "<-999%".to_owned(),
        percent => format!("{percent:.0}%"),
    }
}

/// A change as a share of what was, as [`share`] but with its sign: `+12%`.
pub(crate) fn share_of_change(change: f64) -> String {
    let shown = share(change);
    if shown.starts_with(|first: char| first.is_ascii_digit()) { format!("+{shown}") } else { shown }
}

/// A span of time: `12.5 s`, `3 min 05 s`, `2 h 07 min`, `5 d 03 h`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..60 => format!("{:.1} s", seconds.max(0.0)),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3600..86400 => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {:02} h", whole / 86400, whole / 3600 % 24),
    }
}

/// Foreign text made harmless for a terminal: control characters (also C1 and those that turn the writing direction)
/// become visible escapes such as `\x1b`.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\t' => escaped.push_str("\\t"),
            '\r' => escaped.push_str("\\r"),
            character if is_dangerous(character) && (character as u32) < 0x100 => {
                escaped.push_str(&format!("\\x{:02x}", character as u32));
            }
            character if is_dangerous(character) => escaped.push_str(&format!("\\u{{{:x}}}", character as u32)),
            character => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

/// Whether a character could do more on a terminal than show itself.
pub(super) fn is_dangerous(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn three_digits(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_three_digits_and_never_round_into_a_wrong_unit() {
        let shown = [0, 999, 1000, 1024, 1536, 1_023_487, 1_023_488, 1 << 20, 999 << 30, u64::MAX].map(bytes);
        let expected = [
            "0 B", "999 B", "0.98 KiB", "1.00 KiB", "1.50 KiB", "999 KiB", "0.98 MiB", "1.00 MiB", "999 GiB",
            "16.0 EiB",
        ];
        assert_eq!(shown, expected);
        assert_eq!(signed_bytes(-2048), "-2.00 KiB");
        assert_eq!(signed_bytes(i64::MIN), "-8.00 EiB");
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn rates_are_short() {
        assert_eq!([0.0, 0.5, 12.34, 4567.0, -7.89e6].map(short), ["0", "0.50", "12.3", "4.57 k", "-7.89 M"]);
    }

    #[test]
    fn durations_show_two_units() {
        assert_eq!(
            [0.25, 59.96, 185.0, 7620.0, 443_000.0].map(duration),
            ["0.2 s", "60.0 s", "3 min 05 s", "2 h 07 min", "5 d 03 h"]
        );
    }

    #[test]
    fn nothing_that_steers_a_terminal_gets_through() {
        assert_eq!(harmless("plain ü text"), "plain ü text");
        assert_eq!(harmless("\x1b[31m\u{9b}2J\x07\n\u{202e}x"), "\\x1b[31m\\x9b2J\\x07\\n\\u{202e}x");
    }

    #[test]
    fn a_share_beyond_three_digits_says_so_in_seven_cells() {
        let shown = [0.0, 0.125, 9.994, 9.996, 1e300, -0.001, -9.994, -10.34].map(share);
        assert_eq!(shown, ["0%", "13%", "999%", ">999%", ">999%", "0%", "-999%", "<-999%"]);
        let changes = [0.0, 0.714, 9.99, 15_295.0, -0.2, -55.2].map(share_of_change);
        assert_eq!(changes, ["+0%", "+71%", "+999%", ">999%", "-20%", "<-999%"]);
    }

    #[test]
    fn a_share_of_nothing_is_a_dash() {
        assert_eq!(percent(1, 8), "12.5 %");
        assert_eq!(percent(0, 0), "-");
    }
}
