//! The form that a connector's fields make.

use askama::Template;
use latchstring_broker::definitions::{AuthMethod, Connector, Field as Defined};
use latchstring_model::entity::Role;
use latchstring_model::{Code, Problem};

use super::Desk;
use super::choose::{self, Blocked};
use crate::pages::credentials::fields::{Pairs, Set};
use crate::pages::frame::Frame;
use crate::pages::frame::refused::Refused;
use crate::pages::ui::field::Answer;
use crate::pages::ui::{Exchange, Field, Tile, Wrong};
use crate::texts::Rich;

/// The one set of values for all environments.
pub const ONE: &str = "default";
/// Methods with so many fields hide the optional ones at first.
const MANY: usize = 6;
/// What is asked with GET for a check: worth a look, although it may be left out.
const TEST_PATH: &str = "test_path";

/// One set of values.
struct Section {
    /// `all`, or `each` with the environment.
    class: &'static str,
    title: Option<String>,
    /// JSON for the script: shown only while the environment is ticked.
    when: Option<String>,
    main: Vec<Field>,
    more: Vec<Field>,
    more_title: String,
    more_open: bool,
    whole: Option<Field>,
}

/// What came of asking the API.
pub struct Outcome {
    title: String,
    text: String,
    hint: Option<String>,
    exchange: Option<Exchange>,
}

#[derive(Template)]
#[template(path = "credentials/form.html")]
pub struct Page {
    f: Frame,
    title: String,
    tile: Tile,
    connector: String,
    connector_id: String,
    method: String,
    label: String,
    help: Option<Rich>,
    warning: Option<&'static str>,
    docs: Option<String>,
    sent: Rich,
    blocked: Option<Blocked>,
    wrong: Wrong,
    name: Field,
    owner: Option<Field>,
    client: Option<Field>,
    sets: Option<Field>,
    environments: Vec<(String, bool)>,
    use_in_help: Rich,
    sections: Vec<Section>,
    extras: Vec<Field>,
    extras_open: bool,
    outcome: Option<Outcome>,
    consents: bool,
    stays: bool,
    several_methods: bool,
    base: String,
    list: String,
    change_method: String,
}

/// What the API's answer means, if it was asked.
pub fn outcome(desk: &Desk<'_>, connector: &Connector, problem: &Problem) -> Option<Outcome> {
    let m = &desk.visitor.t.making;
    let title = match problem.code {
        Code::VerificationFailed => m.failed_title.with("connector", &connector.definition.name).0,
        Code::VerificationInconclusive => m.failed_unclear.to_string(),
        _ => return None,
    };
    let exchange = Exchange::of(desk.visitor.t, problem.extra.get("request"), problem.extra.get("response"));
    Some(Outcome {
        title,
        text: problem.detail.to_string(),
        hint: problem.hint.as_ref().map(ToString::to_string),
        exchange,
    })
}

fn is_main(method: &AuthMethod, field: &Defined) -> bool {
    !field.optional || method.fields.len() <= MANY || field.name == TEST_PATH
}

fn section(set: &Set<'_>, class: &'static str, title: Option<String>, wrong: &mut Wrong) -> Section {
    let method = set.method;
    let (mut main, mut more, mut more_open) = (Vec::new(), Vec::new(), false);
    for field in &method.fields {
        let drawn = set.draw(field, wrong);
        if is_main(method, field) {
            main.push(drawn);
        } else {
            more_open |= drawn.wants_attention();
            more.push(drawn);
        }
    }
    let more_title = set.t.number(&set.t.making.more_fields, more.len());
    Section { class, title, when: None, main, more, more_title, more_open, whole: set.draw_whole(wrong) }
}

fn sections(desk: &Desk<'_>, method: &AuthMethod, pairs: &Pairs, wrong: &mut Wrong) -> Vec<Section> {
    let t = desk.visitor.t;
    let set = |name: &str| Set { t, pointer: format!("/values/{name}"), method, pairs, stored: None };
    let mut sections = vec![section(&set(ONE), "for-all", None, wrong)];
    let environments =
        desk.project.as_ref().map(|project| project.environments.as_slice()).unwrap_or_default();
    if environments.len() > 1 {
        for environment in environments {
            let title = t.making.set_of.with("environment", &environment.name).0;
            let mut one = section(&set(&environment.name), "for-each", Some(title), wrong);
            one.when = Some(format!("{{\"{}\": [\"true\"]}}", super::send::use_name(&environment.name)));
            sections.push(one);
        }
    }
    sections
}

fn sets(desk: &Desk<'_>, pairs: &Pairs) -> Option<Field> {
    let (t, m) = (desk.visitor.t, &desk.visitor.t.making);
    let several = desk.project.as_ref().is_some_and(|project| project.environments.len() > 1);
    let answers = vec![
        Answer::new("one", m.sets_one).help(m.sets_one_help),
        Answer::new("each", m.sets_each).help(m.sets_each_help),
    ];
    // The style sheet knows these ids: a choice shows one set of fields or the other.
    several.then(|| {
        Field::cards(t, "sets", m.sets, answers).value(pairs.get("sets").unwrap_or("one")).id("sets")
    })
}

fn owner(desk: &Desk<'_>, pairs: &Pairs, wrong: &mut Wrong) -> Option<Field> {
    let (t, m) = (desk.visitor.t, &desk.visitor.t.making);
    let project = desk.project.as_ref().filter(|project| project.role >= Role::Admin)?;
    let answers = vec![
        Answer::new("me", m.owner_you).help(m.owner_you_help),
        Answer::new("project", m.owner_project.with("project", &project.name))
            .help(m.owner_project_help.with("project", &project.name)),
    ];
    let field = Field::cards(t, "owner_project", m.owner, answers);
    Some(field.value(pairs.get("owner_project").unwrap_or("me")).wrong(wrong))
}

fn client(
    desk: &Desk<'_>,
    connector: &Connector,
    method: &AuthMethod,
    pairs: &Pairs,
    wrong: &mut Wrong,
) -> Option<Field> {
    let (t, m) = (desk.visitor.t, &desk.visitor.t.making);
    let offer = connector.consent.as_ref().filter(|_| method.needs_consent())?;
    let first = offer.clients.first()?;
    let answers = offer.clients.iter().map(|(id, name)| Answer::new(id, name)).collect();
    let field = Field::choice(t, "oauth_client", m.client, answers).help(m.client_help);
    Some(field.value(pairs.get("oauth_client").unwrap_or(&first.0)).wrong(wrong))
}

fn extras(desk: &Desk<'_>, pairs: &Pairs, wrong: &mut Wrong) -> Vec<Field> {
    let (t, m) = (desk.visitor.t, &desk.visitor.t.making);
    let typed = |name: &str| pairs.get(name).unwrap_or_default().to_owned();
    let mut fields = Vec::new();
    if desk.project.is_some() {
        let slug = Field::text(t, "slug", m.slug).mono().help(m.slug_help).most(63);
        fields.push(slug.value(typed("slug")));
        let external = Field::text(t, "external_id", m.external_id).help(m.external_id_help).most(200);
        fields.push(external.value(typed("external_id")));
    }
    fields.push(Field::text(t, "acts_as", m.acts_as).help(m.acts_as_help).most(200).value(typed("acts_as")));
    fields
        .push(Field::date(t, "expires_on", m.expires_on).help(m.expires_on_help).value(typed("expires_on")));
    fields.push(Field::area(t, "note", m.note, 3).help(m.note_help).value(typed("note")));
    fields.into_iter().map(|field| field.optional().wrong(wrong)).collect()
}

pub async fn page(
    desk: &Desk<'_>,
    connector: &Connector,
    method: &str,
    pairs: &Pairs,
    mut wrong: Wrong,
    outcome: Option<Outcome>,
) -> Result<Page, Refused> {
    let (t, m) = (desk.visitor.t, &desk.visitor.t.making);
    let definition = &connector.definition;
    let method = definition.method(method).ok_or_else(|| {
        let what = m.no_method.with("connector", &definition.name).0;
        Box::new(Problem::new(Code::NotFound, what))
    })?;
    let name = Field::text(t, "name", m.name).help(m.name_help).most(200).autocomplete("off");
    let name = name.value(pairs.get("name").unwrap_or(&definition.name)).wrong(&mut wrong);
    let environments =
        desk.project.as_ref().map(|project| project.environments.as_slice()).unwrap_or_default();
    let environments = environments
        .iter()
        .map(|environment| {
            let ticked = !pairs.sent() || pairs.ticked(&super::send::use_name(&environment.name));
            (environment.name.clone(), ticked)
        })
        .collect();
    let project_name = desk.project.as_ref().map_or("", |project| project.name.as_str());
    let sections = sections(desk, method, pairs, &mut wrong);
    let extras = extras(desk, pairs, &mut wrong);
    Ok(Page {
        f: desk.frame().await?,
        title: m.title.with("connector", &definition.name).0,
        tile: Tile::new(&definition.name, &definition.id).large(),
        connector: definition.name.clone(),
        connector_id: definition.id.clone(),
        method: method.id.clone(),
        label: method.label.clone(),
        help: method.help.as_deref().map(Rich::of),
        warning: method.scheme.ty.warning(),
        docs: method.docs_url.clone().or_else(|| definition.docs_url.clone()),
        sent: choose::sent(t, method.scheme.ty).rich(),
        blocked: choose::blocked(desk, connector, method),
        name,
        owner: owner(desk, pairs, &mut wrong),
        client: client(desk, connector, method, pairs, &mut wrong),
        sets: sets(desk, pairs),
        environments,
        use_in_help: m.use_in_help.rich().text("project", project_name),
        sections,
        extras_open: extras.iter().any(Field::wants_attention),
        extras,
        wrong,
        outcome,
        consents: method.needs_consent(),
        stays: desk.visitor.stays,
        several_methods: definition.auth_methods.len() > 1,
        base: desk.base(),
        list: desk.list(),
        change_method: desk.step(&definition.id, None),
    })
}
