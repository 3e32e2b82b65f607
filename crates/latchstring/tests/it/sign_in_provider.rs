//! Sign-in at a provider: the real binary, `oidc-provider`, and everything that an attacker would try.

use latchstring_testkit::app::{EMAIL, PASSWORD, PROJECT};
use latchstring_testkit::http::Answer;
use latchstring_testkit::{AppSetup, OidcProvider, TestApp, http};
use serde_json::{Value, json};

use crate::consent::Browser;
use crate::support::setup;

struct World {
    oidc: OidcProvider,
    app: TestApp,
}

fn set(oidc: &OidcProvider) -> AppSetup {
    setup()
        .set("LATCHSTRING_OIDC_ISSUER", oidc.issuer())
        .set("LATCHSTRING_OIDC_CLIENT_ID", OidcProvider::CLIENT_ID)
        .set("LATCHSTRING_OIDC_CLIENT_SECRET", OidcProvider::CLIENT_SECRET)
        .set("LATCHSTRING_OIDC_NAME", "Acme ID")
        .set("LATCHSTRING_OIDC_SCOPES", "openid email profile groups")
}

impl World {
    fn new(change: impl FnOnce(AppSetup) -> AppSetup) -> Self {
        let oidc = OidcProvider::start();
        let app = change(set(&oidc)).start();
        oidc.redirect_to(OidcProvider::CLIENT_ID, &app.at("/sign-in/callback"));
        Self { oidc, app }
    }

    fn open() -> Self {
        Self::new(|setup| setup.set("LATCHSTRING_OIDC_CREATE_ACCOUNTS", "on"))
    }

    /// To the provider and back, up to the address at which it comes back.
    fn back_from_provider(&self, browser: &mut Browser) -> String {
        let there = browser.get(&self.app.at("/sign-in/provider"));
        assert_eq!(there.status, 303, "{}", there.text());
        self.oidc.browse(there.header("location").unwrap())
    }

    fn sign_in(&self, browser: &mut Browser) -> Answer {
        let back = self.back_from_provider(browser);
        browser.get(&back)
    }

    /// As somebody, who comes in.
    #[track_caller]
    fn comes_in(&self, person: &str) -> Browser {
        self.oidc.set(&json!({"person": person}));
        let mut browser = Browser::default();
        let inside = self.sign_in(&mut browser);
        assert_eq!((inside.status, inside.header("location")), (303, Some("/")), "{}", inside.text());
        browser
    }

    #[track_caller]
    fn refused(&self, browser: &mut Browser, status: u16, text: &str) {
        let answer = self.sign_in(browser);
        assert!(
            answer.status == status && answer.text().contains(text),
            "{} {}",
            answer.status,
            answer.text()
        );
        assert!(!browser.has("latchstring_session"));
    }

    fn me(&self, browser: &mut Browser) -> Value {
        let answer = browser.get(&self.app.at("/api/v1/me"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Follows a link of our own to the provider and back.
    fn follow(&self, browser: &mut Browser, link: &Answer) -> Answer {
        assert_eq!(link.status, 201, "{}", link.text());
        let there = browser.get(link.json()["url"].as_str().unwrap());
        assert_eq!(there.status, 303, "{}", there.text());
        let back = self.oidc.browse(there.header("location").unwrap());
        browser.get(&back)
    }

    fn recorded(&self, action: &str, outcome: &str) -> bool {
        // Sign-ins are in nobody's project; the command sees all of the trail.
        let told = self.app.setup().run(&["audit", "verify"]);
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        let database = std::fs::read(self.app.setup().data().join("latchstring.db")).unwrap();
        let wal = std::fs::read(self.app.setup().data().join("latchstring.db-wal")).unwrap_or_default();
        let text = format!("{}{}", String::from_utf8_lossy(&database), String::from_utf8_lossy(&wal));
        text.contains(&format!("\"action\":\"{action}\""))
            && text.contains(&format!("\"outcome\":\"{outcome}\""))
    }
}

#[test]
fn a_person_comes_in_with_an_account_of_their_own_and_is_known_again() {
    let world = World::open();
    world
        .oidc
        .set(&json!({"claims": {"name": "Alice Liddell", "given_name": "Alice", "family_name": "Liddell"}}));
    let mut alice = world.comes_in("alice");
    let me = world.me(&mut alice);
    assert_eq!(
        (me["email"].as_str(), me["name"].as_str()),
        (Some("alice@example.com"), Some("Alice Liddell"))
    );
    assert_eq!((me["superuser"].as_bool(), me["second_factor"].as_bool()), (Some(false), Some(false)));
    assert!(
        alice.has("latchstring_session") && !alice.has("latchstring_sign_in_"),
        "the flow's cookie is gone"
    );
    // The same person with another address at the provider is the same person here.
    world.oidc.set(&json!({"email": "liddell@example.com"}));
    let mut again = world.comes_in("alice");
    assert_eq!(world.me(&mut again)["id"], me["id"]);
    assert_eq!(world.me(&mut again)["email"], "alice@example.com");
    let identities = again.get(&world.app.at("/api/v1/me/identities")).json();
    assert_eq!(identities["items"][0]["subject"], "alice");
    assert_eq!(identities["items"][0]["email"], "liddell@example.com");
    // And another person with her address is another person, who gets none of hers.
    world.oidc.set(&json!({"person": "mallory", "email": "alice@example.com"}));
    world.refused(&mut Browser::default(), 409, "An address alone links nothing");
    assert!(world.recorded("identity.use", "ok"));
    // No secret of ours is anywhere in the log.
    assert!(!world.app.log().contains(OidcProvider::CLIENT_SECRET));
}

#[test]
fn who_has_no_account_stays_out_unless_accounts_are_made() {
    let world = World::new(|setup| setup);
    world.refused(&mut Browser::default(), 403, "nobody has made an account for you");
    // The administrator of this server has the address of somebody at the provider: that links nothing.
    world.oidc.set(&json!({"email": EMAIL}));
    world.refused(&mut Browser::default(), 409, "link it at /account");
    // Where the provider does not call the address verified, not even that is said.
    world.oidc.set(&json!({"claims": {"email_verified": false}}));
    world.refused(&mut Browser::default(), 403, "nobody has made an account for you");
}

#[test]
fn accounts_are_made_for_verified_addresses_of_domains_that_may() {
    let world = World::new(|setup| {
        setup
            .set("LATCHSTRING_OIDC_CREATE_ACCOUNTS", "on")
            .set("LATCHSTRING_OIDC_ALLOWED_DOMAINS", "example.org, Example.net")
    });
    world.refused(&mut Browser::default(), 403, "of a domain that gets no accounts");
    for (claims, email) in [
        (json!({"email_verified": false}), "alice@example.net"),
        (json!({"email_verified": null}), "alice@example.net"),
        (json!({"email_verified": "yes"}), "alice@example.net"),
    ] {
        world.oidc.set(&json!({"claims": claims, "email": email}));
        world.refused(&mut Browser::default(), 403, "calls verified");
    }
    world.oidc.set(&json!({"claims": {}, "email": "alice@EXAMPLE.net"}));
    world.comes_in("alice");
}

#[test]
fn an_account_is_linked_deliberately_and_once() {
    let world = World::new(|setup| setup);
    let app = &world.app;
    let mut ada = Browser::signed_in(app);
    let link = ada.send("POST", &app.at("/api/v1/me/identities"), &json!({"return_to": "/account"}));
    // The link is good in that session alone.
    let url = link.json()["url"].as_str().unwrap().to_owned();
    assert_eq!(Browser::default().get(&url).header("location"), Some("/sign-in"));
    assert_eq!(Browser::signed_in(app).get(&url).status, 403, "the same person in another session");
    let there = ada.get(&url);
    let asked = there.header("location").unwrap();
    assert!(
        asked.contains("prompt=login")
            && asked.contains("code_challenge_method=S256")
            && asked.contains("nonce="),
        "{asked}"
    );
    let back = world.oidc.browse(asked);
    // Whoever else opens the answer is not the session that asked.
    assert_eq!(Browser::signed_in(app).get(&back).status, 403);
    let done = ada.get(&back);
    assert_eq!((done.status, done.header("location")), (303, Some("/account")), "{}", done.text());
    let mut alice = world.comes_in("alice");
    assert_eq!(world.me(&mut alice)["email"], EMAIL);
    // Once more is the same; somebody else's is not to be had.
    let again = ada.send("POST", &app.at("/api/v1/me/identities"), &json!({}));
    assert_eq!(world.follow(&mut ada, &again).status, 303);
    app.person("bob@example.com", "viewer");
    let mut bob = Browser::default();
    let answer = bob.send(
        "POST",
        &app.at("/api/v1/session"),
        &json!({"email": "bob@example.com", "password": PASSWORD}),
    );
    assert_eq!(answer.status, 204);
    let link = bob.send("POST", &app.at("/api/v1/me/identities"), &json!({}));
    let taken = world.follow(&mut bob, &link);
    assert!(taken.status == 409 && taken.text().contains("linked with another account"), "{}", taken.text());
    // One person has one identity there.
    world.oidc.set(&json!({"person": "carol"}));
    let link = ada.send("POST", &app.at("/api/v1/me/identities"), &json!({}));
    assert_eq!(world.follow(&mut ada, &link).status, 409);
    // Nobody is sent elsewhere.
    let away = ada.send("POST", &app.at("/api/v1/me/identities"), &json!({"return_to": "//evil.example"}));
    assert_eq!(away.status, 422);
    // It is taken away; the password is left.
    let id = ada.get(&app.at("/api/v1/me/identities")).json()["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(ada.send("DELETE", &app.at(&format!("/api/v1/me/identities/{id}")), &Value::Null).status, 204);
    world.oidc.set(&json!({"person": "alice"}));
    world.refused(&mut Browser::default(), 403, "nobody has made an account");
}

#[test]
fn the_only_way_in_stays() {
    let world = World::open();
    let mut alice = world.comes_in("alice");
    let app = &world.app;
    let id =
        alice.get(&app.at("/api/v1/me/identities")).json()["items"][0]["id"].as_str().unwrap().to_owned();
    let path = app.at(&format!("/api/v1/me/identities/{id}"));
    assert_eq!(alice.send("DELETE", &path, &Value::Null).status, 409);
    // Whoever comes from the provider has no password, and gives themselves one.
    let set =
        alice.send("PUT", &app.at("/api/v1/me/password"), &json!({"new_password": "a pass phrase of alice"}));
    assert_eq!(set.status, 204, "{}", set.text());
    let twice =
        alice.send("PUT", &app.at("/api/v1/me/password"), &json!({"new_password": "another pass phrase"}));
    assert_eq!(twice.status, 422, "from now on with the current one");
    assert_eq!(alice.send("DELETE", &path, &Value::Null).status, 204);
    let inside = json!({"email": "alice@example.com", "password": "a pass phrase of alice"});
    assert_eq!(http::post_json(&app.at("/api/v1/session"), &inside).status, 204);
}

#[test]
fn an_answer_is_good_once_and_in_its_browser() {
    let world = World::open();
    let mut browser = Browser::default();
    let back = world.back_from_provider(&mut browser);
    // Somebody else's browser: also one that began a sign-in of its own.
    let mut other = Browser::default();
    for prepared in [false, true] {
        if prepared {
            other.get(&world.app.at("/sign-in/provider"));
        }
        let answer = other.get(&back);
        assert!(answer.status == 403 && answer.text().contains("another browser"), "{}", answer.text());
        assert!(!other.has("latchstring_session"));
    }
    // That used nothing up.
    assert_eq!(browser.get(&back).status, 303);
    let again = browser.get(&back);
    assert!(again.status == 400 || again.status == 403, "{}", again.text());
    // Tampered with, made up, doubled.
    let fresh = world.back_from_provider(&mut browser);
    for bad in [
        fresh.replace("state=", "state=x"),
        world.app.at("/sign-in/callback?code=x&state=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        world.app.at("/sign-in/callback?code=x"),
        world.app.at("/sign-in/callback"),
        format!("{fresh}&state=x"),
    ] {
        let answer = browser.get(&bad);
        assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
    }
    assert!(world.recorded("session.refuse", "refused"));
}

#[test]
fn another_flows_code_is_worth_nothing() {
    let world = World::open();
    let query = |url: &str, name: &str| {
        url.split(['?', '&']).find_map(|part| part.strip_prefix(&format!("{name}="))).unwrap().to_owned()
    };
    // A code that was given for an attacker's flow, in a victim's: the verifier is another.
    let (mut victim, mut attacker) = (Browser::default(), Browser::default());
    let (victims, attackers) =
        (world.back_from_provider(&mut victim), world.back_from_provider(&mut attacker));
    let mixed = victims.replace(&query(&victims, "code"), &query(&attackers, "code"));
    let answer = victim.get(&mixed);
    assert!(answer.status == 502 && answer.text().contains("did not take the code"), "{}", answer.text());
    assert!(!victim.has("latchstring_session"));
}

#[test]
fn an_answer_of_another_provider_is_not_taken() {
    let world = World::open();
    let mut browser = Browser::default();
    let back = world.back_from_provider(&mut browser);
    assert!(back.contains("iss="), "the provider says who it is: {back}");
    let before = world.oidc.token_requests();
    let (start, rest) = back.split_once("iss=").unwrap();
    let rest = rest.split_once('&').map(|(_, rest)| format!("&{rest}")).unwrap_or_default();
    let answer = browser.get(&format!("{start}iss=https%3A%2F%2Fevil.example{rest}"));
    assert!(answer.status == 400 && answer.text().contains("another provider"), "{}", answer.text());
    // Left out, although this one announces it.
    let back = world.back_from_provider(&mut browser);
    let (start, rest) = back.split_once("iss=").unwrap();
    let rest = rest.split_once('&').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
    let answer = browser.get(&format!("{start}{rest}"));
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(world.oidc.token_requests(), before, "no code was sent anywhere");
    assert!(!browser.has("latchstring_session"));
}

#[test]
fn an_id_token_is_believed_only_whole() {
    let world = World::open();
    for (change, text) in [
        (json!({"id_claims": {"nonce": "another"}}), "nonce"),
        (json!({"id_claims": {"nonce": null}}), "nonce"),
        (json!({"id_claims": {"aud": "another-client"}}), "another client"),
        (json!({"id_claims": {"aud": ["latchstring", "another-client"], "azp": "another-client"}}), "azp"),
        (json!({"id_claims": {"iss": "http://evil.example"}}), "another issuer"),
        (json!({"id_claims": {"exp": 1_000_000_000}}), "expired"),
        (json!({"id_claims": {"iat": 1_000_000_000}}), "iat"),
        (json!({"id_claims": {"sub": null}}), "sub"),
        (json!({"id_claims": {}, "id_signature": "none"}), "<code>none</code>"),
        (json!({"id_claims": {}, "id_signature": "hmac"}), "<code>HS256</code>"),
        (json!({"id_claims": {}, "id_signature": "foreign"}), "signature that does not fit"),
    ] {
        world.oidc.set(&json!({"id_claims": {}, "id_signature": ""}));
        world.oidc.set(&change);
        let mut browser = Browser::default();
        let answer = world.sign_in(&mut browser);
        assert!(
            answer.status == 502 && answer.text().contains(text),
            "{change}: {} {}",
            answer.status,
            answer.text()
        );
        assert!(!browser.has("latchstring_session"), "{change}");
    }
    world.oidc.set(&json!({"id_claims": {}, "id_signature": "", "userinfo_sub": "mallory"}));
    world.refused(&mut Browser::default(), 502, "somebody else than its ID token");
    world.oidc.set(&json!({"userinfo_sub": ""}));
    world.comes_in("alice");
}

#[test]
fn keys_are_changed_without_a_restart() {
    let world = World::open();
    world.comes_in("alice");
    let asked = |world: &World| world.oidc.counts().get("GET /jwks").copied().unwrap_or(0);
    let before = asked(&world);
    world.comes_in("alice");
    assert_eq!(asked(&world), before, "keys that are known are not asked for again");
    // A token of an unknown key has us look again, and not for every one of them.
    std::thread::sleep(std::time::Duration::from_secs(11));
    world.oidc.rotate_keys();
    world.comes_in("alice");
    assert_eq!(asked(&world), before + 1);
    world.oidc.rotate_keys();
    for _ in 0..3 {
        world.refused(&mut Browser::default(), 502, "does not publish");
    }
    assert_eq!(asked(&world), before + 1, "ten seconds lie between two looks");
}

#[test]
fn a_provider_that_is_away_is_told_as_that() {
    let oidc = OidcProvider::start();
    let app = set(&oidc).start();
    drop(oidc);
    let answer = http::get(&app.at("/sign-in/provider"), &[]);
    assert!(answer.status == 502 && answer.text().contains("could not be reached"), "{}", answer.text());
    // Passwords go on.
    Browser::signed_in(&app);
}

#[test]
fn groups_give_roles_and_take_them_back() {
    let world = World::new(|setup| {
        setup.set("LATCHSTRING_OIDC_CREATE_ACCOUNTS", "on").set(
            "LATCHSTRING_OIDC_GROUP_ROLES",
            "eng=acme:editor, leads=acme:admin, heads=acme:owner, ops=superuser, lost=nowhere:viewer",
        )
    });
    let app = &world.app;
    let groups = |list: Value| world.oidc.set(&json!({"claims": {"groups": list}}));
    let role = |email: &str| {
        let members = app.done("GET", &format!("/projects/{PROJECT}/members"), &Value::Null, 200);
        let found = members["items"].as_array().unwrap().iter().find(|member| member["email"] == email);
        found.map(|member| member["role"].as_str().unwrap().to_owned())
    };
    let alice = "alice@example.com";
    groups(json!(["eng", "lost", "unknown"]));
    let mut browser = world.comes_in("alice");
    assert_eq!(role(alice).as_deref(), Some("editor"));
    assert_eq!(browser.get(&app.at("/api/v1/projects/acme")).status, 200);
    // The highest of several; a single group as a text.
    groups(json!(["eng", "leads"]));
    world.comes_in("alice");
    assert_eq!(role(alice).as_deref(), Some("admin"));
    groups(json!("eng"));
    world.comes_in("alice");
    assert_eq!(role(alice).as_deref(), Some("editor"));
    // Out of all groups: what came from them is gone, with the claim empty or missing.
    groups(json!([]));
    world.comes_in("alice");
    assert_eq!(role(alice), None);
    assert_eq!(browser.get(&app.at("/api/v1/projects/acme")).status, 404, "in older sessions too");
    groups(json!(["eng"]));
    world.comes_in("alice");
    world.oidc.set(&json!({"claims": {}}));
    world.comes_in("alice");
    assert_eq!(role(alice), None);
    // What was given by hand stays, whenever it was given.
    let by_hand = |role: &str| {
        app.done("PUT", &format!("/projects/{PROJECT}/members/{alice}"), &json!({"role": role}), 200)
    };
    by_hand("viewer");
    groups(json!(["leads"]));
    world.comes_in("alice");
    assert_eq!(role(alice).as_deref(), Some("admin"));
    groups(json!([]));
    world.comes_in("alice");
    assert_eq!(role(alice).as_deref(), Some("viewer"));
    groups(json!(["eng"]));
    world.comes_in("alice");
    by_hand("admin");
    groups(json!([]));
    world.comes_in("alice");
    assert_eq!(role(alice).as_deref(), Some("admin"));
    // Superusers come and go in the same way.
    groups(json!(["ops"]));
    let mut browser = world.comes_in("alice");
    assert_eq!(world.me(&mut browser)["superuser"], true);
    assert_eq!(browser.get(&app.at("/api/v1/users")).status, 200);
    groups(json!([]));
    let mut browser = world.comes_in("alice");
    assert_eq!(world.me(&mut browser)["superuser"], false);
    assert_eq!(browser.get(&app.at("/api/v1/users")).status, 403);
    let actions: Vec<Value> = app.audit("&action=member.set");
    assert!(actions.iter().any(|item| item["detail"]["from"] == "group"), "{actions:?}");
    // Too many groups to be listed is no group less.
    groups(json!(["eng"]));
    world.comes_in("alice");
    world.oidc.set(&json!({"claims": {"_claim_names": {"groups": "src1"}}}));
    world.refused(&mut Browser::default(), 502, "they are too many");
}

#[test]
fn the_last_owner_and_the_last_superuser_stay() {
    let world = World::new(|setup| {
        setup
            .set("LATCHSTRING_OIDC_CREATE_ACCOUNTS", "on")
            .set("LATCHSTRING_OIDC_GROUP_ROLES", "heads=acme:owner, ops=superuser")
    });
    let app = &world.app;
    let groups = |list: Value| world.oidc.set(&json!({"claims": {"groups": list}}));
    groups(json!(["heads", "ops"]));
    let mut alice = world.comes_in("alice");
    // Ada, who set the server up, steps down: from now on Alice is the last of both.
    let mut ada = Browser::signed_in(app);
    assert_eq!(
        ada.send("DELETE", &app.at(&format!("/api/v1/projects/acme/members/{EMAIL}")), &Value::Null).status,
        204
    );
    let me = ada.get(&app.at("/api/v1/me")).json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        alice.send("PATCH", &app.at(&format!("/api/v1/users/{me}")), &json!({"superuser": false})).status,
        200
    );
    groups(json!([]));
    let mut alice = world.comes_in("alice");
    assert_eq!(world.me(&mut alice)["superuser"], true);
    assert_eq!(alice.get(&app.at("/api/v1/projects/acme")).json()["role"], "owner");
    // With others there, the next sign-in takes it.
    assert_eq!(
        alice
            .send(
                "PUT",
                &app.at(&format!("/api/v1/projects/acme/members/{EMAIL}")),
                &json!({"role": "owner"})
            )
            .status,
        200
    );
    assert_eq!(
        alice.send("PATCH", &app.at(&format!("/api/v1/users/{me}")), &json!({"superuser": true})).status,
        200
    );
    let mut alice = world.comes_in("alice");
    assert_eq!(world.me(&mut alice)["superuser"], false);
    assert_eq!(alice.get(&app.at("/api/v1/projects/acme")).status, 404);
}

/// Sets up a second factor in this browser; gives the recovery codes.
fn second_factor(world: &World, browser: &mut Browser) -> Vec<String> {
    let offered = browser.send("POST", &world.app.at("/api/v1/me/totp"), &json!({}));
    assert_eq!(offered.status, 201, "{}", offered.text());
    let code = crate::people::code_of(offered.json()["secret"].as_str().unwrap());
    let confirmed = browser.send("POST", &world.app.at("/api/v1/me/totp/confirm"), &json!({"code": code}));
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
    let codes = confirmed.json()["recovery_codes"].as_array().unwrap().clone();
    codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_second_factor_of_ours_is_asked_for_unless_the_provider_had_one() {
    let world = World::open();
    let app = &world.app;
    let mut alice = world.comes_in("alice");
    let codes = second_factor(&world, &mut alice);
    let mut browser = Browser::default();
    let wanted = world.sign_in(&mut browser);
    let path = wanted.header("location").unwrap().to_owned();
    assert!(wanted.status == 303 && path.starts_with("/sign-in/code/"), "{}", wanted.text());
    assert!(!browser.has("latchstring_session"));
    assert_eq!(Browser::default().submit(&app.at(&path), &format!("code={}", codes[0])).status, 410);
    assert_eq!(browser.submit(&app.at(&path), "code=000000").status, 401);
    let inside = browser.submit(&app.at(&path), &format!("code={}", codes[0]));
    assert_eq!((inside.status, inside.header("location")), (303, Some("/")), "{}", inside.text());
    let sessions = browser.get(&app.at("/api/v1/me/sessions")).json();
    assert_eq!(sessions["items"][0]["second_factor"], true);
    // The provider says (RFC 8176) that it asked for more than one.
    world.oidc.set(&json!({"id_claims": {"amr": ["pwd", "otp", "mfa"]}}));
    let mut browser = world.comes_in("alice");
    let sessions = browser.get(&app.at("/api/v1/me/sessions")).json();
    assert_eq!(sessions["items"][0]["second_factor"], true);
    world.oidc.set(&json!({"id_claims": {"amr": ["pwd"]}}));
    assert!(world.sign_in(&mut Browser::default()).header("location").unwrap().starts_with("/sign-in/code/"));
}

#[test]
fn a_project_takes_a_second_factor_that_the_provider_had() {
    let world = World::new(|setup| {
        setup
            .set("LATCHSTRING_OIDC_CREATE_ACCOUNTS", "on")
            .set("LATCHSTRING_OIDC_GROUP_ROLES", "heads=acme:owner")
    });
    let app = &world.app;
    world.oidc.set(&json!({"claims": {"groups": ["heads"]}, "id_claims": {"amr": ["mfa"]}}));
    let mut alice = world.comes_in("alice");
    let key = alice.send("POST", &app.at("/api/v1/me/keys"), &json!({"name": "x", "scope": "manage"})).json()
        ["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let demand = json!({"require_second_factor": true});
    assert_eq!(alice.send("PATCH", &app.at("/api/v1/projects/acme"), &demand).status, 200);
    assert_eq!(alice.get(&app.at("/api/v1/projects/acme")).status, 200);
    // A key shows none: its person has to have one of this server.
    assert_eq!(
        app.api_as(&key, "GET", "/projects/acme", &Value::Null).json()["code"],
        "second_factor_required"
    );
    world.oidc.set(&json!({"id_claims": {}}));
    let mut weak = world.comes_in("alice");
    assert_eq!(weak.get(&app.at("/api/v1/projects/acme")).json()["code"], "second_factor_required");
    let codes = second_factor(&world, &mut weak);
    assert_eq!(weak.get(&app.at("/api/v1/projects/acme")).status, 200);
    assert_eq!(app.api_as(&key, "GET", "/projects/acme", &Value::Null).status, 200);
    assert_eq!(codes.len(), 10);
}

#[test]
fn who_one_is_can_be_confirmed_at_the_provider() {
    let world = World::open();
    let app = &world.app;
    let mut alice = world.comes_in("alice");
    let before = alice.get(&app.at("/api/v1/me/sessions")).json()["items"][0]["id"].clone();
    let confirm = |browser: &mut Browser| {
        let link = browser.send(
            "POST",
            &app.at("/api/v1/session/confirm/provider"),
            &json!({"return_to": "/account"}),
        );
        world.follow(browser, &link)
    };
    let done = confirm(&mut alice);
    assert_eq!((done.status, done.header("location")), (303, Some("/account")), "{}", done.text());
    assert_eq!(
        alice.get(&app.at("/api/v1/me/sessions")).json()["items"][0]["id"],
        before,
        "the same session"
    );
    assert_eq!(world.oidc.counts().get("POST /token").copied(), Some(2));
    // The provider was asked to have the person sign in anew, and has to say that it did.
    for auth_time in [json!(1_000_000_000), Value::Null] {
        world.oidc.set(&json!({"id_claims": {"auth_time": auth_time}}));
        let answer = confirm(&mut alice);
        assert!(answer.status == 502 && answer.text().contains("auth_time"), "{}", answer.text());
    }
    // As somebody else it confirms nothing.
    world.oidc.set(&json!({"id_claims": {}, "person": "mallory"}));
    let answer = confirm(&mut alice);
    assert!(answer.status == 403 && answer.text().contains("as somebody else"), "{}", answer.text());
    // Whoever has no password cannot confirm with one.
    let answer =
        alice.send("POST", &app.at("/api/v1/session/confirm"), &json!({"password": "whatever it is"}));
    assert_eq!(answer.json()["code"], "no_password");
    // A second factor of ours is asked for here too.
    world.oidc.set(&json!({"person": "alice"}));
    let codes = second_factor(&world, &mut alice);
    let wanted = confirm(&mut alice);
    let path = wanted.header("location").unwrap().to_owned();
    assert!(path.starts_with("/sign-in/code/"), "{}", wanted.text());
    let done = alice.submit(&app.at(&path), &format!("code={}", codes[0]));
    assert_eq!((done.status, done.header("location")), (303, Some("/account")), "{}", done.text());
    assert!(world.recorded("session.confirm", "ok"));
}

#[test]
fn an_invitation_is_taken_at_the_provider_where_there_are_no_passwords() {
    let world = World::new(|setup| setup);
    let app = &world.app;
    let mut ada = Browser::signed_in(app);
    let link = ada.send("POST", &app.at("/api/v1/me/identities"), &json!({}));
    world.oidc.set(&json!({"person": "ada"}));
    assert_eq!(world.follow(&mut ada, &link).status, 303);
    let off = ada.send("PATCH", &app.at("/api/v1/instance"), &json!({"password_sign_in": "nobody"}));
    assert_eq!(off.status, 200, "{}", off.text());
    let inside = json!({"email": EMAIL, "password": PASSWORD});
    assert_eq!(http::post_json(&app.at("/api/v1/session"), &inside).json()["code"], "password_sign_in_off");
    let page = http::get(&app.at("/sign-in"), &[]).text();
    assert!(page.contains("Sign in with Acme ID") && !page.contains("type=\"password\""), "{page}");
    let mut ada = world.comes_in("ada");
    let invited = ada.send("POST", &app.at("/api/v1/invites"), &json!({"email": "bob@elsewhere.example"}));
    assert_eq!(invited.status, 201, "{}", invited.text());
    let url = invited.json()["url"].as_str().unwrap().to_owned();
    // Whoever has the invitation takes it, whatever their address at the provider is.
    world.oidc.set(&json!({"person": "bob", "email": "robert@example.com"}));
    let mut bob = Browser::default();
    assert!(bob.get(&url).text().contains("Come in with Acme ID"));
    let there = bob.get(&format!("{url}/provider"));
    assert_eq!(there.status, 303, "{}", there.text());
    let back = world.oidc.browse(there.header("location").unwrap());
    assert_eq!(bob.get(&back).status, 303);
    assert_eq!(world.me(&mut bob)["email"], "bob@elsewhere.example");
    assert_eq!(Browser::default().get(&format!("{url}/provider")).status, 410, "once");
    let mut again = world.comes_in("bob");
    assert_eq!(world.me(&mut again)["email"], "bob@elsewhere.example");
    // When the provider is gone, whoever has the machine lets passwords in again.
    let allowed = app.setup().run(&["admin", "allow-passwords"]);
    assert!(allowed.status.success(), "{}", String::from_utf8_lossy(&allowed.stderr));
    let trail = crate::people::trail(app, &["--instance", "--action", "instance.update"]);
    assert_eq!(trail.last().unwrap()["actor"]["type"], "server", "{trail:?}");
    latchstring_testkit::eventually("passwords", || {
        (http::post_json(&app.at("/api/v1/session"), &inside).status == 204).then_some(())
    });
}

#[test]
fn half_a_setting_stops_the_start() {
    let oidc = OidcProvider::start();
    let (code, said) = setup().set("LATCHSTRING_OIDC_ISSUER", oidc.issuer()).refused();
    assert!(code == Some(2) && said.contains("LATCHSTRING_OIDC_CLIENT_ID"), "{code:?} {said}");
    let (code, said) = set(&oidc).set("LATCHSTRING_OIDC_GROUP_ROLES", "eng=acme:king").refused();
    assert!(code == Some(2) && said.contains("viewer, editor, admin or owner"), "{code:?} {said}");
    let (code, said) = set(&oidc).set("LATCHSTRING_OIDC_CLIENT_SECRET_FILE", "/nowhere").refused();
    assert!(
        code == Some(2) && said.contains("both set") && !said.contains(OidcProvider::CLIENT_SECRET),
        "{said}"
    );
    // The secret from a file.
    let setup = set(&oidc);
    let file = setup.folder().join("secret");
    std::fs::write(&file, format!("{}\n", OidcProvider::CLIENT_SECRET)).unwrap();
    let app = setup
        .set("LATCHSTRING_OIDC_CLIENT_SECRET", "")
        .set("LATCHSTRING_OIDC_CLIENT_SECRET_FILE", file.display().to_string())
        .set("LATCHSTRING_OIDC_CREATE_ACCOUNTS", "on")
        .start();
    oidc.redirect_to(OidcProvider::CLIENT_ID, &app.at("/sign-in/callback"));
    World { oidc, app }.comes_in("alice");
}

/// The way to the provider and back ends on this server, whatever a link or a form says of where one came from.
#[test]
fn nobody_is_led_elsewhere_on_the_way_through_the_provider() {
    let world = World::open();
    let app = &world.app;
    for (given, own) in [
        ("https%3A%2F%2Fevil.example%2F", None),
        ("%2F%2Fevil.example", None),
        ("%2F%5Cevil.example", None),
        ("%2Fprojects%3Fq%3Da", Some("/projects?q=a")),
    ] {
        let mut alice = Browser::default();
        let there = alice.get(&app.at(&format!("/sign-in/provider?return_to={given}")));
        assert_eq!(there.status, 303, "{given}: {}", there.text());
        let back = world.oidc.browse(there.header("location").unwrap());
        let inside = alice.get(&back);
        assert_eq!((inside.status, inside.header("location")), (303, own.or(Some("/"))), "{given}");

        let page = alice.submit(&app.at("/confirm/provider"), &format!("return_to={given}"));
        assert_eq!(page.status, 200, "{given}: {}", page.text());
        let text = page.text();
        let link =
            text.split("<a class=\"button first\" href=\"").nth(1).and_then(|rest| rest.split('"').next());
        let there = alice.get(link.unwrap());
        assert_eq!(there.status, 303, "{given}: {}", there.text());
        let back = world.oidc.browse(there.header("location").unwrap());
        let done = alice.get(&back);
        assert_eq!((done.status, done.header("location")), (303, own.or(Some("/account"))), "{given}");
    }
}
