//! The catalog as something to choose from: connectors with initials, searchable.

use askama::Template;
use askama::filters::HtmlSafe;
use latchstring_broker::definitions::Connector;

use super::go;
use super::ui::{Field, Icon, Tile};
use crate::texts::T;

/// Serves whatever has no connector of its own.
pub const ANY: &str = "http";
const RAW: &str = "raw";

struct Book {
    tile: Tile,
    name: String,
    about: String,
    link: String,
    /// What a search finds it by.
    text: String,
}

/// Connectors to choose one of.
#[derive(Template)]
#[template(path = "ui/shelf.html")]
pub struct Shelf {
    t: T,
    search: Field,
    /// Connectors of the project's own.
    own: Vec<Book>,
    builtin: Vec<Book>,
    /// For APIs that have none.
    any: Vec<Book>,
    /// The page that the search is sent to, without a script.
    base: String,
}

impl HtmlSafe for Shelf {}

fn book(connector: &Connector, base: &str) -> Book {
    let definition = &connector.definition;
    let about = definition.description.clone().unwrap_or_default();
    let text = format!("{} {} {} {about}", definition.name, definition.id, definition.categories.join(" "));
    Book {
        tile: Tile::new(&definition.name, &definition.id),
        name: definition.name.clone(),
        link: format!("{base}?connector={}", go::part(&definition.id)),
        text: text.to_lowercase(),
        about,
    }
}

impl Shelf {
    /// `base`: where one is chosen (`?connector=` is added); `q`: what is looked for.
    pub fn new(t: T, connectors: &[Connector], base: &str, q: &str) -> Self {
        let words: Vec<String> = q.to_lowercase().split_whitespace().map(str::to_owned).collect();
        let (mut own, mut builtin, mut any) = (Vec::new(), Vec::new(), Vec::new());
        for connector in connectors {
            let book = book(connector, base);
            let is_any = connector.own.is_none() && matches!(connector.definition.id.as_str(), ANY | RAW);
            if is_any {
                any.push(book);
            } else if words.iter().all(|word| book.text.contains(word)) {
                if connector.own.is_some() { own.push(book) } else { builtin.push(book) }
            }
        }
        let search = Field::search(t, "q", t.making.search).value(q).help(t.making.search_help);
        Self { t, search: search.filters("shelf"), own, builtin, any, base: base.to_owned() }
    }

    fn icon(&self) -> Icon {
        Icon("search")
    }
}
