//! The frame around every page: themes, menus, keyboard, forms without a script.

use std::process::Command;

use latchstring_e2e::Browser;
use latchstring_e2e::keyboard::{ENTER, ESCAPE, TAB};
use latchstring_sandbox::DEMO;
use serde_json::{Value, json};

use crate::scene;

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
    browser.keys(TAB);
    assert_eq!(browser.focused(), "Skip to the content");
    let outline = browser
        .js("const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.outlineWidth");
    assert_eq!(outline, "solid3px", "the focus can be seen");
    browser.keys(TAB);
    browser.keys(TAB);
    assert!(browser.focused().contains("Projects"), "{}", browser.focused());
    browser.keys(ENTER);
    browser.keys(TAB);
    assert_eq!(browser.focused(), "Acme");
    browser.keys(ESCAPE);
    assert!(browser.focused().contains("Projects"), "Escape closes the menu and gives the focus back");
    browser.keys(ENTER);
    browser.keys(TAB);
    browser.keys(ENTER);
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

/// Times are the reader's, in their way of writing and where they live; without a script they are UTC, and say so.
#[test]
fn times_are_told_in_the_readers_way() {
    let app = latchstring_e2e::app();
    let id = scene::with_token(&app);
    let path = format!("/credentials/{id}?project=acme");
    let made = app.done("GET", &format!("/credentials/{id}"), &Value::Null, 200)["created_at"].clone();
    let browser = Browser::ada(&app);
    // Of the time when it was made: the machine's, what can be read, and what more there is to it.
    let shown = |browser: &Browser| {
        let script = "const at = document.querySelector('time[datetime=\"' + arguments[0] + '\"][data-show=moment]'); return [at.textContent, at.title]";
        let parts = browser.js_with(script, vec![made.clone()]);
        [parts[0].as_str().unwrap().to_owned(), parts[1].as_str().unwrap().to_owned()]
    };
    browser.scripts(false);
    browser.go(&path);
    let plain = shown(&browser);
    assert!(plain[0].ends_with(" UTC") && plain[1].is_empty(), "{plain:?}");
    browser.scripts(true);
    let mut seen = vec![plain[0].clone()];
    for (locale, zone) in [("de-DE", "Asia/Tokyo"), ("en-US", "America/New_York"), ("en-GB", "Europe/London")]
    {
        browser.reader(locale, zone);
        browser.go(&path);
        let wanted = browser.js_with(
            "const [at, locale, timeZone] = arguments;
            const as = (options) => new Intl.DateTimeFormat(locale, {timeZone, ...options}).format(new Date(at));
            return [as({dateStyle: 'medium', timeStyle: 'short'}), as({dateStyle: 'full', timeStyle: 'long'})]",
            vec![made.clone(), json!(locale), json!(zone)],
        );
        browser.until(&format!("times as in {locale}"), |browser| {
            let now = shown(browser);
            (json!(now) == wanted).then(|| seen.contains(&now[0]))
        });
        seen.push(wanted[0].as_str().unwrap().to_owned());
    }
    seen.dedup();
    assert_eq!(seen.len(), 4, "each is written in another way: {seen:?}");
    // A day that somebody chose is the same day for everybody.
    browser.reader("de-DE", "Asia/Tokyo");
    browser.go(&path);
    browser.until("the day", |browser| {
        let day = browser.js("return document.querySelector('time[data-show=day]').textContent");
        (day == "31.01.2030").then_some(())
    });
}

/// On a phone: from the printed link to a call, and to what is recorded of it, by the menus alone.
#[test]
fn the_whole_way_is_gone_on_a_phone() {
    let (app, link) = latchstring_e2e::fresh();
    let browser = Browser::at(&app.url);
    browser.width(390);
    let fits = |browser: &Browser| {
        let over = browser.js("return document.documentElement.scrollWidth - innerWidth").as_i64().unwrap();
        assert!(over <= 0, "{} is {over} px wider than a phone", browser.path());
    };
    browser.go(&link);
    browser.fill("E-mail address", "ada@example.com");
    browser.fill("Your name", "Ada Lovelace");
    browser.fill("Password", latchstring_testkit::app::PASSWORD);
    browser.fill("First project", "Analytical engines");
    browser.press("Make the account");
    browser.is_at("/projects/analytical-engines/credentials");
    fits(&browser);
    browser.press("Try it with the sandbox");
    fits(&browser);
    browser.press("API key");
    browser.fill("Name", "People");
    browser.fill("API key", "a-wrong-key");
    browser.press("Check and save");
    browser.sees("Sandbox does not accept it");
    // What came of it is below the form here: one is led there.
    let seen = "const {top} = document.getElementById('result').getBoundingClientRect(); return top >= 0 && top < innerHeight";
    browser.until("the result is in sight", |browser| browser.js(seen).as_bool()?.then_some(()));
    fits(&browser);
    browser.fill("API key", DEMO.api_key);
    browser.press("Check and save");
    browser.sees("The credential works and is saved");
    browser.press("Make the key");
    browser.sees("It is shown now and never again");
    fits(&browser);
    browser.allow_clipboard();
    browser.press_near("Paste this into a terminal", "Copy");
    browser.sees("Copied");
    let line = browser.clipboard();
    let output = Command::new("sh").args(["-c", &format!("{line} --silent --show-error")]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("subject"), "{line}: {output:?}");
    browser.press("Audit");
    browser.is_at("/projects/analytical-engines/audit");
    browser.sees("credential.create");
    browser.until("the call is told", |browser| {
        browser.reload();
        browser.text().contains("/v1/me").then_some(())
    });
    fits(&browser);
    // The menus of the frame lead on, and back.
    browser.press("Choose a project: Analytical engines");
    fits(&browser);
    browser.press("All projects");
    browser.is_at("/projects");
    browser.press("My account: Ada Lovelace");
    fits(&browser);
    browser.press("My credentials");
    browser.is_at("/credentials");
    browser.press("People");
    browser.sees("Works");
    fits(&browser);
}
