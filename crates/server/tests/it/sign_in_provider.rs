//! Sign-ins at a provider: whose answer it is, until when, and who stays out. What a provider may say is tested with the
//! whole program (`crates/latchstring/tests/it/sign_in_provider.rs`).

use latchstring_broker::people::oidc::{OidcSettings, OidcText};
use latchstring_testkit::OidcProvider;
use serde_json::json;

use crate::app::{Answer, Db, Somebody, path_of};
use crate::calling::World;

/// Makes two tests out of one, `sqlite` and `postgres`, each with an [`Entrance`].
macro_rules! both_entrances {
    ($(async fn $name:ident($entrance:ident) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn run($entrance: Entrance) $body

            #[tokio::test]
            async fn sqlite() {
                run(Entrance::new(Db::Sqlite).await).await;
            }

            #[tokio::test]
            async fn postgres() {
                run(Entrance::new(Db::Postgres).await).await;
            }
        }
    )*};
}

const LINK: &str = "/api/v1/me/identities";
const CONFIRM: &str = "/api/v1/session/confirm/provider";

struct Entrance {
    world: World,
    oidc: OidcProvider,
}

/// A way to the provider that was begun here.
struct Way {
    location: String,
    /// The flow's cookie.
    flow: String,
}

impl Entrance {
    async fn new(db: Db) -> Self {
        let oidc = OidcProvider::start();
        let text = OidcText {
            issuer: Some(oidc.issuer()),
            client_id: Some(OidcProvider::CLIENT_ID.to_owned()),
            client_secret: Some(OidcProvider::CLIENT_SECRET.into()),
            ..OidcText::default()
        };
        let settings = OidcSettings::read(text).unwrap();
        let at = format!("127.0.0.1:{}", oidc.port()).parse().unwrap();
        let world = World::changed(db, &[at], move |all| all.oidc = settings).await;
        oidc.redirect_to(OidcProvider::CLIENT_ID, "http://127.0.0.1:5282/sign-in/callback");
        Self { world, oidc }
    }

    /// A link that this session asks for: its path.
    async fn asked(&self, what: &str, cookie: &str) -> String {
        let link = self.world.app.post(what, json!({})).cookie(cookie).is(201).await.json();
        path_of(link["url"].as_str().unwrap())
    }

    async fn open(&self, link: &str, cookie: &str) -> Way {
        let there = self.world.app.get(link).cookie(cookie).is(303).await;
        Way { location: there.header("location").to_owned(), flow: there.cookie() }
    }

    async fn sign_in(&self) -> Way {
        self.open("/sign-in/provider", "").await
    }

    /// The person shows the provider who they are: the way back.
    fn back(&self, way: &Way) -> String {
        path_of(&self.oidc.browse(&way.location))
    }

    /// In a browser that has the flow's cookie, and perhaps a session.
    async fn come_back(&self, back: &str, way: &Way, session: &str) -> Answer {
        self.world.app.get(back).header("cookie", &format!("{}; {session}", way.flow)).send().await
    }

    /// One's own account is linked with whoever shows up at the provider.
    async fn linked(&self, who: &Somebody) {
        let way = self.open(&self.asked(LINK, &who.cookie).await, &who.cookie).await;
        let done = self.come_back(&self.back(&way), &way, &who.cookie).await;
        assert_eq!(done.status, 303, "{}", done.text);
        assert_eq!(self.identities(who).await, 1);
    }

    async fn identities(&self, who: &Somebody) -> usize {
        let listed = self.world.app.get(LINK).cookie(&who.cookie).is(200).await.json();
        listed["items"].as_array().unwrap().len()
    }
}

both_entrances! {
    // The same browser: whoever sits there now has the flow's cookie, and a session of their own.
    async fn a_link_is_made_in_the_session_that_asked(entrance) {
        let ada = entrance.world.ada.clone();
        let bob = entrance.world.app.person("bob@example.org").await;
        let other = entrance.world.app.sign_in("ada@example.org").await;
        let link = entrance.asked(LINK, &ada.cookie).await;
        for session in [&bob.cookie, &other] {
            entrance.world.app.get(&link).cookie(session).is(403).await;
        }
        let way = entrance.open(&link, &ada.cookie).await;
        let back = entrance.back(&way);
        for session in [bob.cookie.as_str(), other.as_str(), ""] {
            let refused = entrance.come_back(&back, &way, session).await;
            assert_eq!(refused.status, 403, "{}", refused.text);
            assert!(refused.text.contains("in another session"), "{}", refused.text);
        }
        assert_eq!((entrance.identities(&bob).await, entrance.identities(&ada).await), (0, 0));
        assert_eq!(entrance.oidc.token_requests(), 0, "the code was shown to nobody");
        // That used nothing up.
        assert_eq!(entrance.come_back(&back, &way, &ada.cookie).await.status, 303);
        assert_eq!((entrance.identities(&bob).await, entrance.identities(&ada).await), (0, 1));
    }

    async fn no_session_but_the_one_that_asked_is_confirmed(entrance) {
        let app = &entrance.world.app;
        let ada = entrance.world.ada.clone();
        entrance.linked(&ada).await;
        let other = app.sign_in("ada@example.org").await;
        app.clock.advance_secs(16 * 60);
        let late = async |cookie: &str| app.post("/api/v1/me/totp", json!({})).cookie(cookie).send().await.status;
        let link = entrance.asked(CONFIRM, &ada.cookie).await;
        app.get(&link).cookie(&other).is(403).await;
        let way = entrance.open(&link, &ada.cookie).await;
        let back = entrance.back(&way);
        let asked = entrance.oidc.token_requests();
        let refused = entrance.come_back(&back, &way, &other).await;
        assert_eq!(refused.status, 403, "{}", refused.text);
        assert_eq!(entrance.oidc.token_requests(), asked, "the code was shown to nobody");
        assert_eq!((late(&other).await, late(&ada.cookie).await), (403, 403));
    }

    async fn an_account_that_is_not_active_stays_out(entrance) {
        let app = &entrance.world.app;
        let root = app.superuser("root@example.org").await;
        let bob = app.person("bob@example.org").await;
        entrance.linked(&bob).await;
        let active = async |yes: bool| {
            app.patch(&format!("/api/v1/users/{}", bob.id), json!({"active": yes})).key(&root.key).is(200).await;
        };
        active(false).await;
        let way = entrance.sign_in().await;
        let refused = entrance.come_back(&entrance.back(&way), &way, "").await;
        assert_eq!(refused.status, 403, "{}", refused.text);
        assert!(refused.text.contains("is not active"), "{}", refused.text);
        assert!(!refused.headers.get_all("set-cookie").iter().any(|set| set.to_str().unwrap().contains("latchstring_session=")));
        let recorded = app.recorded().await;
        assert_eq!(recorded.last().map(String::as_str), Some("session.refuse refused"));
        active(true).await;
        let way = entrance.sign_in().await;
        let inside = entrance.come_back(&entrance.back(&way), &way, "").await;
        assert_eq!(inside.status, 303, "{}", inside.text);
        assert_eq!(app.get("/api/v1/me").cookie(&inside.cookie()).is(200).await.json()["id"], json!(bob.id));
    }

    async fn ten_minutes_and_no_longer(entrance) {
        let app = &entrance.world.app;
        let ada = entrance.world.ada.clone();
        let unopened = entrance.asked(LINK, &ada.cookie).await;
        let opened = entrance.open(&entrance.asked(LINK, &ada.cookie).await, &ada.cookie).await;
        let way = entrance.sign_in().await;
        assert!(way.flow.starts_with("latchstring_sign_in_"), "{}", way.flow);
        let (back, linking) = (entrance.back(&way), entrance.back(&opened));
        app.clock.advance_secs(600);
        for late in [
            entrance.come_back(&back, &way, "").await,
            entrance.come_back(&linking, &opened, &ada.cookie).await,
            app.get(&unopened).cookie(&ada.cookie).send().await,
        ] {
            assert_eq!(late.status, 410, "{}", late.text);
            assert!(late.text.contains("10 minutes"), "{}", late.text);
        }
        assert_eq!((entrance.identities(&ada).await, entrance.oidc.token_requests()), (0, 0));
    }

    async fn the_flows_cookie_is_kept_from_scripts_and_other_paths(entrance) {
        let begun = entrance.world.app.get("/sign-in/provider").is(303).await;
        let set = begun.header("set-cookie");
        assert!(set.contains("; Path=/sign-in; HttpOnly; SameSite=Lax; Max-Age=900"), "{set}");
    }

    async fn what_was_begun_ends_when_a_second_factor_comes_or_goes(entrance) {
        let app = &entrance.world.app;
        let ada = entrance.world.ada.clone();
        let unopened = entrance.asked(LINK, &ada.cookie).await;
        let way = entrance.open(&entrance.asked(LINK, &ada.cookie).await, &ada.cookie).await;
        let back = entrance.back(&way);
        app.second_factor(&ada).await;
        assert_eq!(entrance.come_back(&back, &way, &ada.cookie).await.status, 400);
        app.get(&unopened).cookie(&ada.cookie).is(400).await;
        let unopened = entrance.asked(LINK, &ada.cookie).await;
        app.delete("/api/v1/me/totp").cookie(&ada.cookie).is(204).await;
        app.get(&unopened).cookie(&ada.cookie).is(400).await;
        assert_eq!((entrance.identities(&ada).await, entrance.oidc.token_requests()), (0, 0));
    }

    async fn nobody_is_sent_elsewhere_afterwards(entrance) {
        for what in [LINK, CONFIRM] {
            for away in ["//evil.example", "https://evil.example/", "account"] {
                let refused = entrance.world.app.post(what, json!({"return_to": away})).cookie(&entrance.world.ada.cookie).is(422).await;
                assert_eq!(refused.pointers(), ["/return_to"], "{away}");
            }
        }
    }
}
