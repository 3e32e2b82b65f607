//! Dates as providers write them, read without guessing: ISO 8601 and RFC 2822 shapes only.

use latchstring_model::Timestamp;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::{Iso8601, Rfc2822, Rfc3339};
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

const NO_ZONE: &[&[BorrowedFormatItem<'_>]] = &[
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]"),
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond]"),
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC"),
];

const ZONE: &[&[BorrowedFormatItem<'_>]] = &[
    format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second][offset_hour sign:mandatory][offset_minute]"
    ),
    format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond][offset_hour sign:mandatory][offset_minute]"
    ),
    format_description!(
        "[year]-[month]-[day] [hour]:[minute]:[second][offset_hour sign:mandatory]:[offset_minute]"
    ),
];

/// Without a zone a date is UTC: that is what servers mean.
pub fn parse_date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.len() > 64 {
        return None;
    }
    let zoned = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(text, &Rfc2822))
        .or_else(|_| OffsetDateTime::parse(text, &Iso8601::DEFAULT))
        .ok()
        .or_else(|| ZONE.iter().find_map(|format| OffsetDateTime::parse(text, format).ok()));
    let date = zoned.or_else(|| {
        PrimitiveDateTime::parse(text, &Iso8601::DEFAULT)
            .ok()
            .or_else(|| NO_ZONE.iter().find_map(|format| PrimitiveDateTime::parse(text, format).ok()))
            .or_else(|| Date::parse(text, &Iso8601::DEFAULT).ok().map(|date| date.midnight()))
            .map(PrimitiveDateTime::assume_utc)
    })?;
    i64::try_from(date.unix_timestamp_nanos() / 1_000_000).ok().map(Timestamp)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_in_many_spellings() {
        let at = Timestamp::parse_rfc3339("2026-11-21T10:00:00Z").unwrap();
        for text in [
            "2026-11-21T10:00:00Z",
            "2026-11-21T10:00:00.000Z",
            "2026-11-21T12:00:00+02:00",
            "2026-11-21T12:00:00+0200",
            "2026-11-21T12:00:00.000+0200",
            "2026-11-21 12:00:00+02:00",
            "2026-11-21T10:00:00",
            "2026-11-21 10:00:00",
            "2026-11-21 10:00:00.000",
            "2026-11-21 10:00:00 UTC",
            "20261121T100000Z",
            "Sat, 21 Nov 2026 10:00:00 GMT",
            "Sat, 21 Nov 2026 10:00:00 +0000",
        ] {
            assert_eq!(parse_date(text), Some(at), "{text}");
        }
        assert_eq!(parse_date("2026-11-21"), Timestamp::parse_rfc3339("2026-11-21T00:00:00Z"));
        for text in ["", "soon", "21/11/2026", "1700000000", "2026-13-01T00:00:00Z"] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }
}
