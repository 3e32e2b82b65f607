//! One moment in the spellings that signatures use. All UTC.

use latchstring_model::Timestamp;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

fn date(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.secs()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn write(at: Timestamp, format: &[BorrowedFormatItem<'_>]) -> String {
    date(at).format(format).unwrap_or_default()
}

/// `20150830`
pub(crate) fn compact_date(at: Timestamp) -> String {
    write(at, format_description!("[year][month][day]"))
}

/// `20150830T123600Z`
pub(crate) fn compact_time(at: Timestamp) -> String {
    write(at, format_description!("[year][month][day]T[hour][minute][second]Z"))
}

/// `2015-08-30T12:36:00Z`, without a fraction
pub(crate) fn rfc3339(at: Timestamp) -> String {
    write(at, format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"))
}

/// `2015-08-30T12:36:00.000Z`
pub(crate) fn rfc3339_millis(at: Timestamp) -> String {
    let mut text = rfc3339(at);
    text.pop();
    format!("{text}.{:03}Z", at.millis().rem_euclid(1000))
}

/// `Sun, 30 Aug 2015 12:36:00 GMT` (IMF-fixdate, RFC 9110 section 5.6.7)
pub(crate) fn http_date(at: Timestamp) -> String {
    write(
        at,
        format_description!(
            "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_in_all_spellings() {
        let at = Timestamp(1_440_938_160_042);
        assert_eq!(compact_date(at), "20150830");
        assert_eq!(compact_time(at), "20150830T123600Z");
        assert_eq!(rfc3339(at), "2015-08-30T12:36:00Z");
        assert_eq!(rfc3339_millis(at), "2015-08-30T12:36:00.042Z");
        assert_eq!(http_date(at), "Sun, 30 Aug 2015 12:36:00 GMT");
    }
}
