//! The frame around every page: themes, menus, keyboard, forms without a script.

use latchstring_e2e::Browser;

#[test]
fn a_theme_is_chosen_and_stays() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    let ground = |browser: &Browser| {
        browser
            .js("return getComputedStyle(document.documentElement).backgroundColor")
            .as_str()
            .unwrap()
            .to_owned()
    };
    browser.go("/projects");
    browser.prefers("prefers-color-scheme", "light");
    let light = ground(&browser);
    browser.prefers("prefers-color-scheme", "dark");
    let dark = ground(&browser);
    assert_ne!(light, dark, "without a choice it is as the system is");
    browser.press("My account: Ada Lovelace");
    browser.press("Light");
    browser.is_at("/projects");
    assert_eq!(ground(&browser), light, "a choice wins over the system");
    browser.reload();
    assert_eq!(ground(&browser), light);
}

#[test]
fn forms_work_without_a_script() {
    let app = latchstring_e2e::app();
    let browser = Browser::at(&app.url);
    browser.scripts(false);
    browser.go("/projects/new");
    browser.sees("Sign in");
    browser.fill("E-mail address", "ada@example.com");
    browser.fill("Password", "wrong");
    browser.press("Sign in");
    browser.sees("do not fit together");
    assert_eq!(browser.value("E-mail address"), "ada@example.com");
    browser.fill("Password", latchstring_testkit::app::PASSWORD);
    browser.press("Sign in");
    // Where one wanted to go.
    browser.is_at("/projects/new");
    browser.fill("Name", "Field work");
    browser.fill("Short name", "Not a slug");
    browser.press("Make the project");
    assert!(browser.wrong("Short name").contains("not-a-slug"));
    assert_eq!(browser.value("Name"), "Field work");
    browser.fill("Short name", "");
    browser.press("Make the project");
    browser.is_at("/projects/field-work/credentials");
}

#[test]
fn the_keyboard_alone_gets_everywhere() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/projects");
    let tab = "\u{e004}";
    let (enter, escape) = ("\u{e007}", "\u{e00c}");
    browser.keys(tab);
    assert_eq!(browser.focused(), "Skip to the content");
    let outline = browser
        .js("const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.outlineWidth");
    assert_eq!(outline, "solid3px", "the focus can be seen");
    browser.keys(tab);
    browser.keys(tab);
    assert!(browser.focused().contains("Projects"), "{}", browser.focused());
    browser.keys(enter);
    browser.keys(tab);
    assert_eq!(browser.focused(), "Acme");
    browser.keys(escape);
    assert!(browser.focused().contains("Projects"), "Escape closes the menu and gives the focus back");
    browser.keys(enter);
    browser.keys(tab);
    browser.keys(enter);
    browser.is_at("/projects/acme/credentials");
}

#[test]
fn who_wants_less_motion_gets_none() {
    let app = latchstring_e2e::app();
    let browser = Browser::ada(&app);
    browser.go("/projects/new");
    let duration = "return getComputedStyle(document.querySelector('.button.first')).transitionDuration";
    // What the browser takes for a wish depends on the desktop, or on there being none.
    browser.prefers("prefers-reduced-motion", "no-preference");
    assert_ne!(browser.js(duration), "0s");
    browser.prefers("prefers-reduced-motion", "reduce");
    assert_eq!(browser.js(duration), "0s");
}
