//! The keyboard alone.

use crate::Browser;

pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
pub const SPACE: &str = "\u{e00d}";
pub const ESCAPE: &str = "\u{e00c}";
pub const BACKSPACE: &str = "\u{e003}";
/// Control and A, then nothing held any more.
pub const ALL: &str = "\u{e009}a\u{e000}";
/// Control and V.
pub const PASTE: &str = "\u{e009}v\u{e000}";
/// Shift and Tab.
pub const BACK: &str = "\u{e008}\u{e004}\u{e000}";

impl Browser {
    /// With the Tab key, to what has these words.
    #[track_caller]
    pub fn tab_to(&self, words: &str) {
        for _ in 0..150 {
            self.keys(TAB);
            if self.focused().starts_with(words) {
                // A row that leads somewhere is marked whole, and so is a field that holds tags.
                let seen = self.js("const here = document.activeElement;
                    return [here, here.closest('li'), here.closest('.tags')].some((one) => one && getComputedStyle(one).outlineStyle === 'solid')");
                assert_eq!(seen, true, "the focus on {words} can be seen");
                return;
            }
        }
        panic!("{words} is not reached by Tab on {}:\n{}", self.url(), self.text());
    }

    /// Waits until the focus is on what holds these words, or is called so. The page itself does not count, whatever it
    /// holds.
    #[track_caller]
    pub fn has_focus(&self, words: &str) {
        self.until(&format!("the focus is on {words:?}"), |browser| {
            let held = browser.js("const here = document.activeElement;
                return [document.body, document.documentElement, null].includes(here) ? null : here.innerText ?? ''");
            let held = held.as_str()?;
            (held.contains(words) || browser.focused().contains(words)).then_some(())
        });
    }
}
