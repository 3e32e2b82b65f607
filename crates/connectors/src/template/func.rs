//! The fixed list of filters, functions and tests. Whatever makes a text says how many bytes first.

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use latchstring_model::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;

use super::MAX_OUTPUT;
use super::eval::{Run, Stop, fail, number, written};
use super::val::{Text, Val};

macro_rules! names {
    ($kind:ident { $($variant:ident = $($text:literal)|+, $least:literal ..= $most:literal;)* }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $kind { $($variant,)* }

        impl $kind {
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($($text)|+ => Some($kind::$variant),)* _ => None }
            }

            pub fn names() -> impl Iterator<Item = &'static str> {
                [$($($text,)+)*].into_iter()
            }

            /// Least and most number of arguments.
            pub fn arity(self) -> (usize, usize) {
                match self { $($kind::$variant => ($least, $most),)* }
            }
        }
    };
}

names!(Filter {
    Base64 = "base64" | "b64encode", 0 ..= 0;
    Base64Url = "base64url", 0 ..= 0;
    Base64Decode = "b64decode", 0 ..= 0;
    UrlEncode = "urlencode", 0 ..= 0;
    FormEncode = "formencode", 0 ..= 0;
    Hex = "hex", 0 ..= 0;
    Md5 = "md5", 0 ..= 1;
    Sha1 = "sha1", 0 ..= 1;
    Sha256 = "sha256", 0 ..= 1;
    Sha512 = "sha512", 0 ..= 1;
    Hmac = "hmac", 1 ..= 3;
    ToJson = "tojson", 0 ..= 0;
    FromJson = "fromjson", 0 ..= 0;
    Default = "default" | "d", 0 ..= 2;
    Lower = "lower", 0 ..= 0;
    Upper = "upper", 0 ..= 0;
    Trim = "trim", 0 ..= 0;
    Replace = "replace", 2 ..= 2;
    Split = "split", 1 ..= 1;
    Join = "join", 0 ..= 1;
    Path = "path", 1 ..= 1;
    First = "first", 0 ..= 0;
    Last = "last", 0 ..= 0;
    Length = "length" | "count", 0 ..= 0;
    Int = "int", 0 ..= 0;
    Float = "float", 0 ..= 0;
    String = "string", 0 ..= 0;
    Bool = "bool", 0 ..= 0;
});

names!(Func {
    Now = "now", 0 ..= 2;
    Uuid = "uuid", 0 ..= 0;
    Nonce = "nonce", 0 ..= 1;
});

names!(Test {
    Defined = "defined", 0 ..= 0;
    Undefined = "undefined", 0 ..= 0;
    None = "none", 0 ..= 0;
    String = "string", 0 ..= 0;
    Number = "number", 0 ..= 0;
    Boolean = "boolean", 0 ..= 0;
    Sequence = "sequence", 0 ..= 0;
    Mapping = "mapping", 0 ..= 0;
    StartingWith = "startingwith", 1 ..= 1;
    EndingWith = "endingwith", 1 ..= 1;
});

/// RFC 3986: everything but unreserved characters.
pub(crate) const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The longest text that a search is done in or that is hashed: with the meter, this bounds the time.
fn text<'e>(run: &Run<'e>, val: Val<'e>, by: &str) -> Result<Text<'e>, Stop> {
    match val {
        Val::Json(_) | Val::Object(_) => fail(format!("`{by}` needs a text, not {}", val.what())),
        val => {
            let text = run.as_text(val)?;
            run.meter.spend(text.as_str().len())?;
            Ok(text)
        }
    }
}

fn argument<'e>(
    run: &Run<'e>,
    args: &mut std::vec::IntoIter<Val<'e>>,
    by: &str,
) -> Result<Option<Text<'e>>, Stop> {
    args.next().map(|val| text(run, val, by)).transpose()
}

pub(super) fn filter<'e>(
    run: &Run<'e>,
    name: Filter,
    of: Val<'e>,
    args: Vec<Val<'e>>,
) -> Result<Val<'e>, Stop> {
    let mut args = args.into_iter();
    Ok(match name {
        // Handled where undefined values are known.
        Filter::Default => of,
        Filter::Base64 | Filter::Base64Url => {
            let of = text(run, of, "base64")?;
            run.meter.spend(of.as_str().len() / 3 * 4 + 4)?;
            Val::own(if name == Filter::Base64 {
                STANDARD.encode(of.as_str())
            } else {
                URL_SAFE_NO_PAD.encode(of.as_str())
            })
        }
        Filter::Base64Decode => {
            let of = text(run, of, "b64decode")?;
            let plain = of.as_str().trim().trim_end_matches('=');
            let bytes = STANDARD_NO_PAD.decode(plain).or_else(|_| URL_SAFE_NO_PAD.decode(plain));
            match bytes.map(String::from_utf8) {
                Ok(Ok(text)) => Val::own(text),
                _ => return fail("`b64decode` was given something that is not base64 of a text"),
            }
        }
        Filter::UrlEncode => {
            let of = text(run, of, "urlencode")?;
            run.meter.spend(of.as_str().len().saturating_mul(3))?;
            Val::own(utf8_percent_encode(of.as_str(), COMPONENT).to_string())
        }
        Filter::FormEncode => {
            let Val::Json(map) = &of else {
                return fail(format!("`formencode` needs a map, not {}", of.what()));
            };
            let Value::Object(map) = map.as_ref() else {
                return fail("`formencode` needs a map, not a list");
            };
            let mut out = Vec::with_capacity(map.len());
            for (name, value) in map {
                let value = Val::from_json(value);
                let value = written(&value)?;
                run.meter.spend((name.len() + value.len()).saturating_mul(3))?;
                out.push(format!(
                    "{}={}",
                    utf8_percent_encode(name, COMPONENT),
                    utf8_percent_encode(&value, COMPONENT)
                ));
            }
            run.meter.spend(out.iter().map(String::len).sum())?;
            Val::own(out.join("&"))
        }
        Filter::Hex => {
            let of = text(run, of, "hex")?;
            run.meter.spend(of.as_str().len().saturating_mul(2))?;
            Val::own(hex(of.as_str().as_bytes()))
        }
        Filter::Md5 => {
            use md5::Digest as _;
            let of = text(run, of, "md5")?;
            Val::own(encoded(&md5::Md5::digest(of.as_str().as_bytes()), argument(run, &mut args, "md5")?)?)
        }
        Filter::Sha1 | Filter::Sha256 | Filter::Sha512 => {
            let algorithm = match name {
                Filter::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
                Filter::Sha256 => &digest::SHA256,
                _ => &digest::SHA512,
            };
            let of = text(run, of, "a hash")?;
            let hash = digest::digest(algorithm, of.as_str().as_bytes());
            Val::own(encoded(hash.as_ref(), argument(run, &mut args, "a hash")?)?)
        }
        Filter::Hmac => {
            let of = text(run, of, "hmac")?;
            let Some(key) = argument(run, &mut args, "hmac")? else { return fail("`hmac` needs a key") };
            let algorithm = argument(run, &mut args, "hmac")?;
            let algorithm = match algorithm.as_ref().map_or("sha256", Text::as_str) {
                "sha1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                "sha256" => hmac::HMAC_SHA256,
                "sha384" => hmac::HMAC_SHA384,
                "sha512" => hmac::HMAC_SHA512,
                _ => return fail("`hmac` knows sha1, sha256, sha384 and sha512"),
            };
            let tag = hmac::sign(&hmac::Key::new(algorithm, key.as_str().as_bytes()), of.as_str().as_bytes());
            Val::own(encoded(tag.as_ref(), argument(run, &mut args, "hmac")?)?)
        }
        Filter::ToJson => {
            let json = run.json(&of)?;
            let written = json.to_string();
            run.meter.spend(written.len())?;
            Val::own(written)
        }
        Filter::FromJson => {
            let of = text(run, of, "fromjson")?;
            match serde_json::from_str::<Value>(of.as_str()) {
                Ok(json) => Val::from_owned_json(json),
                Err(_) => return fail("`fromjson` was given something that is not JSON"),
            }
        }
        Filter::Lower | Filter::Upper => {
            let of = text(run, of, "a filter")?;
            let made =
                if name == Filter::Lower { of.as_str().to_lowercase() } else { of.as_str().to_uppercase() };
            // Some letters become longer: `ŉ` has two bytes, `ʼN` three.
            run.meter.spend(made.len())?;
            Val::own(made)
        }
        Filter::Trim => Val::own(text(run, of, "trim")?.as_str().trim()),
        Filter::Replace => {
            let of = text(run, of, "replace")?;
            let (Some(from), Some(to)) =
                (argument(run, &mut args, "replace")?, argument(run, &mut args, "replace")?)
            else {
                return fail("`replace` needs what to replace and by what");
            };
            let (of, from, to) = (of.as_str(), from.as_str(), to.as_str());
            if from.is_empty() {
                return fail("`replace` needs a text to look for");
            }
            let found = of.matches(from).count();
            run.meter
                .spend((of.len() - found * from.len()).saturating_add(found.saturating_mul(to.len())))?;
            Val::own(of.replace(from, to))
        }
        Filter::Split => {
            let of = text(run, of, "split")?;
            let Some(at) = argument(run, &mut args, "split")? else {
                return fail("`split` needs a text to split at");
            };
            if at.as_str().is_empty() {
                return fail("`split` needs a text to split at");
            }
            let parts = of.as_str().matches(at.as_str()).count().saturating_add(1);
            // A list item costs more than its text.
            run.meter.spend(parts.saturating_mul(32).saturating_add(of.as_str().len()))?;
            Val::from_owned_json(Value::Array(of.as_str().split(at.as_str()).map(Value::from).collect()))
        }
        Filter::Join => {
            let between = argument(run, &mut args, "join")?;
            let between = between.as_ref().map_or("", Text::as_str);
            let Val::Json(list) = &of else { return fail(format!("`join` needs a list, not {}", of.what())) };
            let Value::Array(items) = list.as_ref() else { return fail("`join` needs a list, not a map") };
            run.meter.spend(items.len().saturating_mul(between.len()))?;
            let mut bytes = items.len().saturating_mul(between.len());
            let mut parts = Vec::with_capacity(items.len());
            for item in items {
                let part = Val::from_json(item);
                let part = written(&part)?.into_owned();
                bytes = bytes.saturating_add(part.len());
                if bytes > MAX_OUTPUT {
                    return fail(format!("a result of more than {MAX_OUTPUT} bytes"));
                }
                parts.push(part);
            }
            run.meter.spend(bytes)?;
            Val::own(parts.join(between))
        }
        Filter::Path => {
            let Some(path) = argument(run, &mut args, "path")? else {
                return fail("`path` needs a path, as in 'data.items'");
            };
            let path = crate::answer::Path::parse(path.as_str()).or_else(fail)?;
            let Val::Json(json) = &of else {
                return fail(format!("`path` needs a list or a map, not {}", of.what()));
            };
            // What is copied out is part of what is there.
            run.meter.spend(super::val::json_bytes(json))?;
            match path.get(json) {
                Some(found) => Val::from_owned_json(found),
                None => Val::None,
            }
        }
        Filter::First | Filter::Last => match &of {
            Val::Json(list) => match list.as_ref() {
                Value::Array(items) => match if name == Filter::First { items.first() } else { items.last() }
                {
                    Some(item) => Val::from_owned_json(run.json(&Val::from_json(item))?),
                    None => Val::None,
                },
                _ => return fail("`first` and `last` need a list"),
            },
            Val::Text(text) => {
                let mut chars = text.as_str().chars();
                match if name == Filter::First { chars.next() } else { chars.next_back() } {
                    Some(c) => Val::own(c),
                    None => Val::None,
                }
            }
            other => return fail(format!("`first` and `last` need a list, not {}", other.what())),
        },
        Filter::Length => {
            let length = match &of {
                Val::Text(text) => text.as_str().chars().count(),
                Val::Json(value) => match value.as_ref() {
                    Value::Array(items) => items.len(),
                    Value::Object(map) => map.len(),
                    _ => 0,
                },
                other => {
                    return fail(format!("`length` needs a text, a list or a map, not {}", other.what()));
                }
            };
            Val::Int(i64::try_from(length).unwrap_or(i64::MAX))
        }
        Filter::Int => match &of {
            Val::Int(whole) => Val::Int(*whole),
            Val::Bool(flag) => Val::Int(i64::from(*flag)),
            #[allow(clippy::cast_possible_truncation)]
            Val::Float(real) if real.abs() < 9.0e15 => Val::Int(*real as i64),
            Val::Text(text) => match text.as_str().trim().parse() {
                Ok(whole) => Val::Int(whole),
                Err(_) => return fail("`int` was given a text that is not a whole number"),
            },
            other => return fail(format!("`int` cannot read {}", other.what())),
        },
        Filter::Float => match &of {
            Val::Text(text) => match text.as_str().trim().parse::<f64>() {
                Ok(real) if real.is_finite() => Val::Float(real),
                _ => return fail("`float` was given a text that is not a number"),
            },
            other => match number(other) {
                Some(real) => Val::Float(real),
                None => return fail(format!("`float` cannot read {}", other.what())),
            },
        },
        Filter::String => Val::Text(run.as_text(of)?),
        Filter::Bool => match &of {
            Val::Text(text) => match text.as_str() {
                "true" | "1" | "yes" => Val::Bool(true),
                "false" | "0" | "no" | "" => Val::Bool(false),
                _ => return fail("`bool` reads true/false, yes/no and 1/0"),
            },
            other => Val::Bool(other.is_true()),
        },
    })
}

fn encoded(bytes: &[u8], form: Option<Text<'_>>) -> Result<String, Stop> {
    match form.as_ref().map_or("hex", Text::as_str) {
        "hex" => Ok(hex(bytes)),
        "base64" => Ok(STANDARD.encode(bytes)),
        "base64url" => Ok(URL_SAFE_NO_PAD.encode(bytes)),
        _ => fail("a hash is written as hex, base64 or base64url"),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out
}

pub(super) fn test(name: Test, of: &Val<'_>, args: &[Val<'_>]) -> Result<bool, Stop> {
    Ok(match name {
        Test::Defined => true,
        Test::Undefined => false,
        Test::None => matches!(of, Val::None),
        Test::String => matches!(of, Val::Text(_)),
        Test::Number => matches!(of, Val::Int(_) | Val::Float(_)),
        Test::Boolean => matches!(of, Val::Bool(_)),
        Test::Sequence => matches!(of, Val::Json(value) if value.is_array()),
        Test::Mapping => matches!(of, Val::Json(value) if value.is_object()),
        Test::StartingWith | Test::EndingWith => match (of, args.first()) {
            (Val::Text(of), Some(Val::Text(part))) => {
                if name == Test::StartingWith {
                    of.as_str().starts_with(part.as_str())
                } else {
                    of.as_str().ends_with(part.as_str())
                }
            }
            _ => return fail("`startingwith` and `endingwith` need two texts"),
        },
    })
}

pub(super) fn call<'e>(run: &Run<'e>, name: Func, args: Vec<Val<'e>>) -> Result<Val<'e>, Stop> {
    let mut args = args.into_iter();
    match name {
        Func::Uuid => {
            let mut bytes = [0u8; 16];
            run.env.entropy()?.fill(&mut bytes);
            // RFC 9562, version 4.
            bytes[6] = (bytes[6] & 0x0f) | 0x40;
            bytes[8] = (bytes[8] & 0x3f) | 0x80;
            let text = hex(&bytes);
            Ok(Val::own(format!(
                "{}-{}-{}-{}-{}",
                &text[..8],
                &text[8..12],
                &text[12..16],
                &text[16..20],
                &text[20..]
            )))
        }
        Func::Nonce => {
            let count = match args.next() {
                None | Some(Val::None) => 16,
                Some(Val::Int(count)) if (8..=64).contains(&count) => usize::try_from(count).unwrap_or(16),
                Some(_) => return fail("`nonce` takes a number of bytes from 8 to 64"),
            };
            let mut bytes = [0u8; 64];
            run.env.entropy()?.fill(&mut bytes[..count]);
            Ok(Val::own(hex(&bytes[..count])))
        }
        Func::Now => {
            let offset = match args.next() {
                None | Some(Val::None) => 0,
                Some(Val::Int(secs)) => secs,
                Some(Val::Text(text)) => match seconds(text.as_str()) {
                    Some(secs) => secs,
                    None => return fail("`now` takes an offset in seconds, or as in '-5m', '1h', '30d'"),
                },
                Some(other) => {
                    return fail(format!("`now` takes an offset in seconds, not {}", other.what()));
                }
            };
            // A hundred years either way: every format below has room for it.
            if offset.unsigned_abs() > 3_155_760_000 {
                return fail("the offset of `now` is at most a hundred years");
            }
            let at = run.env.now()?.plus_secs(offset);
            match args.next() {
                None | Some(Val::None) => Ok(Val::Int(at.secs())),
                Some(Val::Text(format)) => formatted(at, format.as_str()),
                Some(other) => fail(format!("the format of `now` is a text, not {}", other.what())),
            }
        }
    }
}

/// `90`, `-5m`, `1h`, `30d`, `45s`.
fn seconds(text: &str) -> Option<i64> {
    let text = text.trim();
    let (number, unit) = match text.as_bytes().last()? {
        b's' => (&text[..text.len() - 1], 1),
        b'm' => (&text[..text.len() - 1], 60),
        b'h' => (&text[..text.len() - 1], 3600),
        b'd' => (&text[..text.len() - 1], 86_400),
        _ => (text, 1),
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

const DATE: StaticFormatDescription = format_description!("[year]-[month]-[day]");
const RFC3339: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
const RFC3339_MILLIS: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const BASIC: StaticFormatDescription = format_description!("[year][month][day]T[hour][minute][second]Z");
const COMPACT: StaticFormatDescription = format_description!("[year][month][day][hour][minute][second]");
const HTTP: StaticFormatDescription =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

fn formatted(at: Timestamp, format: &str) -> Result<Val<'static>, Stop> {
    let format = match format {
        "unix" => return Ok(Val::Int(at.secs())),
        "unix_ms" => return Ok(Val::Int(at.millis())),
        "date" => DATE,
        "rfc3339" => RFC3339,
        "rfc3339_ms" => RFC3339_MILLIS,
        "basic" => BASIC,
        "compact" => COMPACT,
        "http" => HTTP,
        _ => {
            return fail(
                "`now` knows the formats unix, unix_ms, date, rfc3339, rfc3339_ms, basic, compact and http",
            );
        }
    };
    let date = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.millis()) * 1_000_000);
    match date.ok().and_then(|date| date.format(format).ok()) {
        Some(text) => Ok(Val::own(text)),
        None => fail("the time is out of range"),
    }
}
