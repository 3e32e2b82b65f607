//! Evaluates an accepted template. Time and memory are bounded by [`MAX_WORK`]: every byte that a
//! step makes or reads is counted before it is made.

use std::cell::Cell;

use latchstring_model::{Entropy, SecretString, Timestamp};
use serde_json::{Map, Value};

use super::func;
use super::lower::{Cmp, Ex, Known, Piece};
use super::val::{Object, Text, Val, json_bytes};
use super::{MAX_OUTPUT, MAX_WORK};
use crate::error::RenderError;

/// Why an evaluation stopped.
pub(crate) enum Stop {
    /// A name that is not there: an error, unless `default` or `is defined` is asked about it.
    Undefined(String),
    Error(RenderError),
}

impl From<RenderError> for Stop {
    fn from(error: RenderError) -> Self {
        Stop::Error(error)
    }
}

pub(crate) fn fail<T>(detail: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Error(RenderError::template(detail)))
}

/// What a template can ask about.
pub(crate) trait Env {
    fn root(&self, name: &str) -> Result<Val<'_>, Stop>;
    fn object(&self, object: Object, attribute: &str) -> Result<Val<'_>, Stop>;
    fn secret(&self, name: &str) -> Result<Val<'_>, Stop>;
    fn variable(&self, name: &str) -> Result<Val<'_>, Stop>;
    fn now(&self) -> Result<Timestamp, Stop>;
    fn entropy(&self) -> Result<&dyn Entropy, Stop>;
}

/// Counts the bytes of one rendering.
pub(crate) struct Meter(Cell<usize>);

impl Meter {
    fn new() -> Self {
        Self(Cell::new(MAX_WORK))
    }

    /// To be called before `bytes` are made.
    pub fn spend(&self, bytes: usize) -> Result<(), Stop> {
        if bytes > MAX_OUTPUT {
            return fail(format!("a result of more than {MAX_OUTPUT} bytes"));
        }
        match self.0.get().checked_sub(bytes.saturating_add(1)) {
            Some(left) => {
                self.0.set(left);
                Ok(())
            }
            None => fail(format!("too much work: more than {MAX_WORK} bytes handled")),
        }
    }
}

fn finish<T>(result: Result<T, Stop>) -> Result<T, RenderError> {
    result.map_err(|stop| match stop {
        Stop::Error(error) => error,
        Stop::Undefined(what) => RenderError::template(what),
    })
}

pub(crate) fn value<'e>(pieces: &'e [Piece], env: &'e dyn Env) -> Result<Val<'e>, RenderError> {
    let run = Run { env, meter: Meter::new() };
    finish(match pieces {
        [Piece::Emit(ex, _)] => run.eval(ex),
        [Piece::Text(text)] => Ok(Val::Text(Text::Ref(text))),
        pieces => run.text(pieces, None).map(|text| Val::Text(Text::Own(text))),
    })
}

/// Given what an expression reads and its text: another text, none (take it as it is), or why not.
pub(crate) type Encode<'c> = &'c dyn Fn(&Known, &str) -> Result<Option<String>, String>;

/// The text; `None` when the template is one expression that yields nothing.
pub(crate) fn text_encoded(
    pieces: &[Piece],
    env: &dyn Env,
    encode: Encode<'_>,
) -> Result<Option<SecretString>, RenderError> {
    let run = Run { env, meter: Meter::new() };
    if let [Piece::Emit(ex, known)] = pieces {
        return finish(run.eval(ex).and_then(|val| match val {
            Val::None => Ok(None),
            val => run.encoded(&val, known, encode).map(Some),
        }));
    }
    finish(run.text(pieces, Some(encode)).map(Some))
}

pub(super) struct Run<'e> {
    pub env: &'e dyn Env,
    pub meter: Meter,
}

impl<'e> Run<'e> {
    fn text(&self, pieces: &'e [Piece], encode: Option<Encode<'_>>) -> Result<SecretString, Stop> {
        let mut out = Vec::new();
        self.collect(pieces, encode, &mut out)?;
        let bytes = out.iter().map(|text| text.as_str().len()).sum();
        self.meter.spend(bytes)?;
        // Sized once: growing would leave copies behind that are not wiped.
        let mut whole = String::with_capacity(bytes);
        for text in &out {
            whole.push_str(text.as_str());
        }
        Ok(SecretString::new(whole))
    }

    fn collect(
        &self,
        pieces: &'e [Piece],
        encode: Option<Encode<'_>>,
        out: &mut Vec<Text<'e>>,
    ) -> Result<(), Stop> {
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.push(Text::Ref(text)),
                Piece::Emit(ex, known) => {
                    let val = self.eval(ex)?;
                    out.push(match encode {
                        Some(encode) => Text::Own(self.encoded(&val, known, encode)?),
                        None => self.as_text(val)?,
                    });
                }
                Piece::If { test, yes, no } => {
                    let branch = if self.eval(test)?.is_true() { yes } else { no };
                    self.collect(branch, encode, out)?;
                }
            }
        }
        Ok(())
    }

    fn encoded(&self, val: &Val<'_>, known: &Known, encode: Encode<'_>) -> Result<SecretString, Stop> {
        let text = written(val)?;
        self.meter.spend(text.len().saturating_mul(3).min(MAX_OUTPUT))?;
        match encode(known, &text) {
            Ok(Some(encoded)) => Ok(SecretString::new(encoded)),
            Ok(None) => Ok(SecretString::new(text.into_owned())),
            Err(detail) => fail(detail),
        }
    }

    pub fn as_text(&self, val: Val<'e>) -> Result<Text<'e>, Stop> {
        if let Val::Text(text) = val {
            return Ok(text);
        }
        let text = written(&val)?.into_owned();
        self.meter.spend(text.len())?;
        Ok(Text::Own(SecretString::new(text)))
    }

    pub fn eval(&self, ex: &'e Ex) -> Result<Val<'e>, Stop> {
        self.meter.spend(0)?;
        Ok(match ex {
            Ex::None => Val::None,
            Ex::Bool(flag) => Val::Bool(*flag),
            Ex::Int(whole) => Val::Int(*whole),
            Ex::Float(real) => Val::Float(*real),
            Ex::Text(text) => Val::Text(Text::Ref(text)),
            Ex::Var(name) => {
                let val = self.env.root(name)?;
                self.meter.spend(val.bytes())?;
                val
            }
            Ex::Object(object) => Val::Object(*object),
            Ex::Secret(name) => {
                let val = self.env.secret(name)?;
                self.meter.spend(val.bytes())?;
                val
            }
            Ex::Variable(name) => {
                let val = self.env.variable(name)?;
                self.meter.spend(val.bytes())?;
                val
            }
            Ex::Attr(of, name) => {
                let of = self.eval(of)?;
                self.attribute(of, name)?
            }
            Ex::Item(of, key) => {
                let of = self.eval(of)?;
                match self.eval(key)? {
                    Val::Text(name) => self.attribute(of, name.as_str())?,
                    Val::Int(at) => self.nth(of, at)?,
                    other => return fail(format!("`[…]` takes a text or a number, not {}", other.what())),
                }
            }
            Ex::Not(of) => Val::Bool(!self.eval(of)?.is_true()),
            Ex::Neg(of) => match self.eval(of)? {
                Val::Int(whole) => match whole.checked_neg() {
                    Some(whole) => Val::Int(whole),
                    None => return fail("a number out of range"),
                },
                Val::Float(real) => Val::Float(-real),
                other => return fail(format!("`-` needs a number, not {}", other.what())),
            },
            Ex::And(left, right) => {
                let left = self.eval(left)?;
                if left.is_true() { self.eval(right)? } else { left }
            }
            Ex::Or(left, right) => {
                let left = self.eval(left)?;
                if left.is_true() { left } else { self.eval(right)? }
            }
            Ex::Compare(op, left, right) => {
                let left = self.eval(left)?;
                let right = self.eval(right)?;
                Val::Bool(self.compare(*op, &left, &right)?)
            }
            Ex::Add(left, right) => match (self.eval(left)?, self.eval(right)?) {
                (Val::Int(a), Val::Int(b)) => match a.checked_add(b) {
                    Some(sum) => Val::Int(sum),
                    None => return fail("a number out of range"),
                },
                (Val::Text(a), Val::Text(b)) => self.concat(&[a, b])?,
                (a, b) => match (number(&a), number(&b)) {
                    (Some(a), Some(b)) => Val::Float(a + b),
                    _ => {
                        return fail(format!(
                            "`+` cannot add {} and {}; `~` joins texts",
                            a.what(),
                            b.what()
                        ));
                    }
                },
            },
            Ex::Sub(left, right) => match (self.eval(left)?, self.eval(right)?) {
                (Val::Int(a), Val::Int(b)) => match a.checked_sub(b) {
                    Some(rest) => Val::Int(rest),
                    None => return fail("a number out of range"),
                },
                (a, b) => match (number(&a), number(&b)) {
                    (Some(a), Some(b)) => Val::Float(a - b),
                    _ => return fail(format!("`-` needs numbers, not {} and {}", a.what(), b.what())),
                },
            },
            Ex::Concat(parts) => {
                let parts = parts
                    .iter()
                    .map(|part| self.eval(part).and_then(|val| self.as_text(val)))
                    .collect::<Result<Vec<_>, _>>()?;
                self.concat(&parts)?
            }
            Ex::If(test, yes, no) => {
                if self.eval(test)?.is_true() {
                    self.eval(yes)?
                } else {
                    match no {
                        Some(no) => self.eval(no)?,
                        None => Val::None,
                    }
                }
            }
            Ex::Filter(func::Filter::Default, of, args) => {
                let val = match self.eval(of) {
                    Err(Stop::Undefined(_)) => Val::None,
                    other => other?,
                };
                let empty_too = match args.get(1) {
                    Some(flag) => self.eval(flag)?.is_true(),
                    None => false,
                };
                if matches!(val, Val::None) || (empty_too && !val.is_true()) {
                    match args.first() {
                        Some(fallback) => self.eval(fallback)?,
                        None => Val::own(""),
                    }
                } else {
                    val
                }
            }
            Ex::Filter(filter, of, args) => {
                let of = self.eval(of)?;
                let args = args.iter().map(|arg| self.eval(arg)).collect::<Result<Vec<_>, _>>()?;
                func::filter(self, *filter, of, args)?
            }
            Ex::Test(test, of, args) => match test {
                func::Test::Defined | func::Test::Undefined => {
                    let there = match self.eval(of) {
                        Ok(Val::None) | Err(Stop::Undefined(_)) => false,
                        Ok(_) => true,
                        Err(stop) => return Err(stop),
                    };
                    Val::Bool(there == matches!(test, func::Test::Defined))
                }
                test => {
                    let of = self.eval(of)?;
                    let args = args.iter().map(|arg| self.eval(arg)).collect::<Result<Vec<_>, _>>()?;
                    Val::Bool(func::test(*test, &of, &args)?)
                }
            },
            Ex::Call(function, args) => {
                let args = args.iter().map(|arg| self.eval(arg)).collect::<Result<Vec<_>, _>>()?;
                func::call(self, *function, args)?
            }
            Ex::List(items) => {
                let mut out = Vec::with_capacity(items.len());
                for item in items {
                    out.push(self.json(&self.eval(item)?)?);
                }
                Val::from_owned_json(Value::Array(out))
            }
            Ex::Map(entries) => {
                let mut out = Map::new();
                for (key, item) in entries {
                    let key = self.eval(key)?;
                    let key = written(&key)?.into_owned();
                    self.meter.spend(key.len())?;
                    out.insert(key, self.json(&self.eval(item)?)?);
                }
                Val::from_owned_json(Value::Object(out))
            }
        })
    }

    pub fn json(&self, val: &Val<'_>) -> Result<Value, Stop> {
        let bytes = match val {
            Val::Json(value) => json_bytes(value),
            other => other.bytes(),
        };
        self.meter.spend(bytes)?;
        match val.to_json() {
            Some(json) => Ok(json),
            None => fail("`user`, `project` and `fields` are no values; name one of their attributes"),
        }
    }

    pub fn concat(&self, parts: &[Text<'_>]) -> Result<Val<'e>, Stop> {
        let bytes = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.as_str().len()));
        self.meter.spend(bytes)?;
        let mut whole = String::with_capacity(bytes);
        for part in parts {
            whole.push_str(part.as_str());
        }
        Ok(Val::own(whole))
    }

    fn attribute(&self, of: Val<'e>, name: &str) -> Result<Val<'e>, Stop> {
        match of {
            Val::Object(object) => self.env.object(object, name),
            Val::Json(std::borrow::Cow::Borrowed(Value::Object(map))) => match map.get(name) {
                Some(item) => Ok(Val::from_json(item)),
                None => Err(Stop::Undefined(format!("there is no `{}`", short(name)))),
            },
            Val::Json(std::borrow::Cow::Owned(Value::Object(mut map))) => match map.swap_remove(name) {
                Some(item) => Ok(Val::from_owned_json(item)),
                None => Err(Stop::Undefined(format!("there is no `{}`", short(name)))),
            },
            Val::None => {
                Err(Stop::Undefined(format!("`{}` is asked of a field that was left out", short(name))))
            }
            other => fail(format!("`{}` is asked of {}", short(name), other.what())),
        }
    }

    fn nth(&self, of: Val<'e>, at: i64) -> Result<Val<'e>, Stop> {
        let missing = || Stop::Undefined(format!("the list has no item {at}"));
        let index = |len: usize| -> Option<usize> {
            if at < 0 {
                len.checked_sub(usize::try_from(at.unsigned_abs()).ok()?)
            } else {
                usize::try_from(at).ok()
            }
        };
        match of {
            Val::Json(std::borrow::Cow::Borrowed(Value::Array(items))) => {
                index(items.len()).and_then(|at| items.get(at)).map(Val::from_json).ok_or_else(missing)
            }
            Val::Json(std::borrow::Cow::Owned(Value::Array(mut items))) => match index(items.len()) {
                Some(at) if at < items.len() => Ok(Val::from_owned_json(items.swap_remove(at))),
                _ => Err(missing()),
            },
            Val::None => Err(missing()),
            other => fail(format!("item {at} is asked of {}", other.what())),
        }
    }

    fn compare(&self, op: Cmp, left: &Val<'_>, right: &Val<'_>) -> Result<bool, Stop> {
        let same = |a: &Val<'_>, b: &Val<'_>| match (number(a), number(b)) {
            (Some(a), Some(b)) => a == b,
            _ => match (a, b) {
                (Val::Text(a), Val::Text(b)) => a.as_str() == b.as_str(),
                (Val::Bool(a), Val::Bool(b)) => a == b,
                (Val::None, Val::None) => true,
                (Val::Json(a), Val::Json(b)) => a == b,
                _ => false,
            },
        };
        self.meter.spend(left.bytes().min(right.bytes()).min(MAX_OUTPUT))?;
        Ok(match op {
            Cmp::Eq => same(left, right),
            Cmp::Ne => !same(left, right),
            Cmp::In => match right {
                Val::Text(text) => match left {
                    Val::Text(part) => {
                        self.meter.spend(text.as_str().len().min(MAX_OUTPUT))?;
                        text.as_str().contains(part.as_str())
                    }
                    other => {
                        return fail(format!("`in` looks for a text in a text, not for {}", other.what()));
                    }
                },
                Val::Json(value) => match value.as_ref() {
                    Value::Array(items) => {
                        self.meter.spend(json_bytes(value).min(MAX_OUTPUT))?;
                        items.iter().any(|item| same(left, &Val::from_json(item)))
                    }
                    Value::Object(map) => matches!(left, Val::Text(name) if map.contains_key(name.as_str())),
                    _ => false,
                },
                other => return fail(format!("`in` needs a text, a list or a map, not {}", other.what())),
            },
            Cmp::Lt | Cmp::Lte | Cmp::Gt | Cmp::Gte => {
                let order = match (number(left), number(right)) {
                    (Some(a), Some(b)) => a.partial_cmp(&b),
                    _ => match (left, right) {
                        (Val::Text(a), Val::Text(b)) => Some(a.as_str().cmp(b.as_str())),
                        _ => None,
                    },
                };
                let Some(order) = order else {
                    return fail(format!("{} and {} have no order", left.what(), right.what()));
                };
                match op {
                    Cmp::Lt => order.is_lt(),
                    Cmp::Lte => order.is_le(),
                    Cmp::Gt => order.is_gt(),
                    _ => order.is_ge(),
                }
            }
        })
    }
}

/// As it is written into a text; nothing has no text, and a list or a map needs `tojson` or `join`.
pub(super) fn written<'v>(val: &'v Val<'_>) -> Result<std::borrow::Cow<'v, str>, Stop> {
    match val {
        Val::None => Err(Stop::Undefined(
            "a value that was left out is written into a text; give it a `default(…)` or test it with `if`"
                .into(),
        )),
        Val::Json(_) | Val::Object(_) => {
            fail(format!("{} cannot be written into a text as it is; use `tojson` or `join`", val.what()))
        }
        other => Ok(other.to_text().unwrap_or_default()),
    }
}

pub(super) fn number(val: &Val<'_>) -> Option<f64> {
    match val {
        #[allow(clippy::cast_precision_loss)]
        Val::Int(whole) => Some(*whole as f64),
        Val::Float(real) => Some(*real),
        _ => None,
    }
}

pub(super) fn short(name: &str) -> String {
    name.chars().take(40).collect()
}
