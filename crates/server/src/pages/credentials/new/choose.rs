//! The first two steps: which API, and how it lets one in.

use askama::Template;
use latchstring_broker::definitions::{AuthMethod, Connector, SchemeType};

use super::Desk;
use crate::pages::catalog::Shelf;
use crate::pages::frame::Frame;
use crate::pages::frame::refused::Refused;
use crate::pages::go;
use crate::pages::ui::Tile;
use crate::texts::{Rich, T, Text};

#[derive(Template)]
#[template(path = "credentials/choose.html")]
pub struct Catalog {
    f: Frame,
    shelf: Shelf,
    list: String,
}

pub async fn connector(desk: &Desk<'_>, q: &str) -> Result<Catalog, Refused> {
    let connectors = desk.app.broker().connectors(&desk.visitor.actor, desk.project_id()).await?;
    let shelf = Shelf::new(desk.visitor.t, &connectors, &desk.base(), q);
    Ok(Catalog { f: desk.frame().await?, shelf, list: desk.list() })
}

/// One way to be let in.
struct Way {
    id: String,
    link: String,
    label: String,
    help: Option<String>,
    sent: Rich,
    warning: Option<&'static str>,
    docs: Option<String>,
    /// Consent is needed and there is nothing to consent to.
    blocked: Option<Blocked>,
}

/// Whom to ask for an OAuth client.
pub struct Blocked {
    pub what: Rich,
    pub ask: Option<Rich>,
    /// For superusers: where they make one.
    pub make: Option<String>,
}

#[derive(Template)]
#[template(path = "credentials/method.html")]
pub struct Methods {
    f: Frame,
    tile: Tile,
    name: String,
    title: String,
    ways: Vec<Way>,
    base: String,
    list: String,
}

/// What goes over the wire, in a sentence.
pub fn sent(t: T, ty: SchemeType) -> Text {
    let m = &t.making;
    match ty {
        SchemeType::None => m.sent_none,
        SchemeType::ApiKey => m.sent_api_key,
        SchemeType::Basic => m.sent_basic,
        SchemeType::Bearer => m.sent_bearer,
        SchemeType::Oauth2AuthorizationCode | SchemeType::Oauth2DeviceCode => m.sent_consent,
        SchemeType::Oauth2ClientCredentials
        | SchemeType::Oauth2JwtBearer
        | SchemeType::Oauth2TokenExchange
        | SchemeType::Oauth2Password => m.sent_oauth2,
        SchemeType::Jwt
        | SchemeType::Oauth1
        | SchemeType::AwsSigv4
        | SchemeType::Digest
        | SchemeType::Hmac => m.sent_signed,
        SchemeType::MutualTls => m.sent_tls,
        SchemeType::Steps => m.sent_steps,
        SchemeType::Database => m.sent_database,
        SchemeType::Custom => m.sent_custom,
    }
}

/// Whether nobody can consent with this method yet, and who could change that.
pub fn blocked(desk: &Desk<'_>, connector: &Connector, method: &AuthMethod) -> Option<Blocked> {
    let offer = connector.consent.as_ref()?;
    let needs = method.scheme.ty == SchemeType::Oauth2AuthorizationCode;
    if !needs || !offer.clients.is_empty() {
        return None;
    }
    let m = &desk.visitor.t.making;
    let name = &connector.definition.name;
    let superuser = desk.visitor.actor.superuser().is_ok();
    Some(Blocked {
        what: m.no_client.rich().text("connector", name),
        ask: if superuser {
            Some(m.no_client_self.rich())
        } else {
            (!offer.ask.is_empty()).then(|| m.no_client_ask.rich().text("people", &offer.ask.join(", ")))
        },
        make: superuser.then(|| {
            let project = desk.project.as_ref().map(|project| format!("&project={}", project.slug));
            format!(
                "/oauth-clients/new?connector={}{}&return_to={}",
                connector.definition.id,
                project.unwrap_or_default(),
                go::part(&desk.step(&connector.definition.id, Some(&method.id)))
            )
        }),
    })
}

pub async fn method(desk: &Desk<'_>, connector: &Connector) -> Result<Methods, Refused> {
    let (t, definition) = (desk.visitor.t, &connector.definition);
    let ways = definition
        .auth_methods
        .iter()
        .map(|method| Way {
            id: method.id.clone(),
            link: desk.step(&definition.id, Some(&method.id)),
            label: method.label.clone(),
            help: method.help.clone(),
            sent: sent(t, method.scheme.ty).rich(),
            warning: method.scheme.ty.warning(),
            docs: method.docs_url.clone(),
            blocked: blocked(desk, connector, method),
        })
        .collect();
    Ok(Methods {
        f: desk.frame().await?,
        tile: Tile::new(&definition.name, &definition.id).large(),
        name: definition.name.clone(),
        title: t.making.method_title.with("connector", &definition.name).0,
        ways,
        base: desk.base(),
        list: desk.list(),
    })
}
