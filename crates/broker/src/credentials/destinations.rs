//! Where values go, as it is shown.

use latchstring_model::Pin;

/// For an owner. A prefix is often a value (or the better part of a webhook's address): who may not read all of the values
/// sees where they go as others do.
pub(crate) fn shown_pins(pins: &[Pin], withheld: &[String]) -> Vec<String> {
    if !withheld.is_empty() {
        return origins(pins);
    }
    let mut shown: Vec<String> = pins.iter().map(|pin| format!("{}{}", pin.origin, pin.prefix)).collect();
    shown.dedup();
    shown
}

/// As calls leave them in the trail, for everybody who reads it.
pub(crate) fn origins<'p>(pins: impl IntoIterator<Item = &'p Pin>) -> Vec<String> {
    let mut origins: Vec<String> = pins.into_iter().map(|pin| pin.origin.to_string()).collect();
    origins.sort();
    origins.dedup();
    origins
}
