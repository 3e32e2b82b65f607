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

/// Goes to everything that can be seen and used, also in what is folded away, and tells what the keyboard does not get to
/// or does not show. What takes the focus after a key was pressed shows it.
const PASSED_OVER: &str = "
const shut = [...document.querySelectorAll('details:not([open])')];
// A menu closes as soon as the focus is elsewhere: each is opened for what it holds.
const unfold = (one) => {
  for (let fold = one.closest('details'); fold; fold = fold.parentElement.closest('details')) fold.open = true;
};
const marked = (one) => {
  const style = one && getComputedStyle(one);
  return style && style.outlineStyle === 'solid' && parseFloat(style.outlineWidth) >= 2;
};
const wrong = [];
let found = 0;
for (const one of document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')) {
  unfold(one);
  if (one.matches(':disabled') || !one.checkVisibility({visibilityProperty: true})) continue;
  // What only a password manager reads.
  if (one.closest('[aria-hidden=true]')) continue;
  found += 1;
  const tell = (text) => wrong.push(`${text}: ${one.outerHTML.slice(0, 160)}`);
  if (one.tabIndex < 0 || one.closest('[inert]')) { tell('Tab does not lead to it'); continue; }
  one.focus({preventScroll: true});
  if (document.activeElement !== one) { tell('it does not take the focus'); continue; }
  // A row that leads somewhere is marked whole, and so is a field that holds tags.
  if (![one, one.closest('li'), one.closest('.tags')].some(marked)) tell('the focus on it cannot be seen');
}
document.activeElement?.blur();
shut.forEach((one) => { one.open = false; });
return [found, wrong];
";

impl Browser {
    /// What of the page the keyboard alone does not get to, and what does not show that it did.
    pub fn passed_over(&self) -> Vec<String> {
        self.keys(TAB);
        let told = self.js(PASSED_OVER);
        let wrong = told[1].as_array().expect("a list").iter().filter_map(|one| one.as_str());
        let mut wrong: Vec<String> = wrong.map(str::to_owned).collect();
        if told[0].as_u64().unwrap_or(0) == 0 {
            wrong.push("there is nothing to use".to_owned());
        }
        wrong
    }

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

    /// Waits until the focus is on what holds these words, or is called so. The page itself and the whole of what it is
    /// about do not count, whatever they hold.
    #[track_caller]
    pub fn has_focus(&self, words: &str) {
        self.until(&format!("the focus is on {words:?}"), |browser| {
            let held = browser.try_js("const here = document.activeElement;
                if ([document.body, document.documentElement, document.querySelector('main'), null].includes(here)) return null;
                return [here.innerText, here.labels?.[0]?.innerText, here.getAttribute('aria-label')].join('\\n')");
            held?.as_str()?.contains(words).then_some(())
        });
    }
}
