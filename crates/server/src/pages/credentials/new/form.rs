//! The form that a connector's fields make.

use askama::Template;
use latchstring_broker::definitions::{AuthMethod, Connector, Field as Defined};
use latchstring_model::entity::Role;
use latchstring_model::{Code, Problem};

use super::choose::{self, Blocked};
use super::{Desk, tried};
use crate::pages::credentials::fields::{Pairs, Set};
use crate::pages::frame::Frame;
use crate::pages::frame::refused::Refused;
use crate::pages::ui::field::Answer;
use crate::pages::ui::{Badge, Exchange, Field, Mistakes, Sketched, Tile, Wrong};
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

/// Of what was sent, or would be.
pub enum Part {
    /// With whose it is, where there are several.
    Exchange(Option<String>, Exchange),
    Sketch(Sketched),
}

/// What came of asking the API, or of looking at what it would be asked.
pub struct Outcome {
    pub failed: bool,
    pub badge: Badge,
    pub title: String,
    pub text: String,
    pub hint: Option<String>,
    pub parts: Vec<Part>,
    /// What became of the form.
    pub kept: String,
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
    mistakes: Mistakes,
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
    try_path: Option<Field>,
    consents: bool,
    several_methods: bool,
    base: String,
    list: String,
    change_method: String,
}

impl Page {
    #[must_use]
    pub fn with_mistakes(self, mistakes: Mistakes) -> Self {
        Self { mistakes, ..self }
    }

    /// For the page's title.
    fn troubled(&self) -> bool {
        self.wrong.any() || self.outcome.as_ref().is_some_and(|outcome| outcome.failed)
    }
}

/// What the API's answer means, in a few words, if it was asked.
pub fn failure(desk: &Desk<'_>, connector: &Connector, problem: &Problem) -> Option<String> {
    let m = &desk.visitor.t.making;
    match problem.code {
        Code::VerificationFailed => Some(m.failed_title.with("connector", &connector.definition.name).0),
        Code::VerificationInconclusive => Some(m.failed_unclear.to_string()),
        _ => None,
    }
}

pub fn bad(desk: &Desk<'_>) -> Badge {
    Badge::new("bad", "cross-circle", desk.visitor.t.making.result)
}

/// What became of what was typed.
pub fn kept(desk: &Desk<'_>, failed: bool) -> String {
    let m = &desk.visitor.t.making;
    match (desk.visitor.stays, failed) {
        (true, true) => m.nothing_saved.to_string(),
        (true, false) => m.nothing_saved_yet.to_string(),
        (false, _) => m.nothing_saved_plain.to_string(),
    }
}

/// The same whole, where the values were to be saved.
pub fn outcome(desk: &Desk<'_>, connector: &Connector, problem: &Problem) -> Option<Outcome> {
    let exchange = Exchange::of(desk.visitor.t, problem.extra.get("request"), problem.extra.get("response"));
    Some(Outcome {
        failed: true,
        badge: bad(desk),
        title: failure(desk, connector, problem)?,
        text: problem.detail.to_string(),
        hint: problem.hint.as_ref().map(ToString::to_string),
        parts: exchange.into_iter().map(|exchange| Part::Exchange(None, exchange)).collect(),
        kept: kept(desk, true),
    })
}

/// Where the connector itself has nothing to ask, a path of the person's own.
fn try_path(
    desk: &Desk<'_>,
    connector: &Connector,
    method: &AuthMethod,
    pairs: &Pairs,
    wrong: &mut Wrong,
) -> Option<Field> {
    let (t, m) = (desk.visitor.t, &desk.visitor.t.making);
    let asks = method.verify.is_some() || connector.definition.verify.is_some();
    (!asks).then(|| {
        let field = Field::text(t, tried::PATH, m.try_path).mono().optional().help(m.try_path_help);
        field.example("/me").value(pairs.get(tried::PATH).unwrap_or_default()).wrong(wrong)
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
    let asked = desk.client.as_deref().filter(|id| offer.clients.iter().any(|(one, _)| one == id));
    let chosen = pairs.get("oauth_client").or(asked).unwrap_or(&first.0);
    Some(field.value(chosen).wrong(wrong))
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
    let try_path = try_path(desk, connector, method, pairs, &mut wrong);
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
        mistakes: Mistakes::none(t),
        wrong,
        outcome,
        try_path,
        consents: method.needs_consent(),
        several_methods: definition.auth_methods.len() > 1,
        base: desk.base(),
        list: desk.list(),
        change_method: desk.step(&definition.id, None),
    })
}
