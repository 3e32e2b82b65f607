//! Names of connectors and their methods, by what credentials keep of them.

use std::collections::HashMap;

use latchstring_broker::definitions::Connector;

use crate::pages::ui::Tile;

pub struct Names(HashMap<String, Connector>);

impl Names {
    pub fn new(connectors: Vec<Connector>) -> Self {
        Self(connectors.into_iter().map(|one| (one.uid.clone(), one)).collect())
    }

    pub fn get(&self, uid: &str) -> Option<&Connector> {
        self.0.get(uid)
    }

    /// What people call it. A connector that is gone, or of a project that is not looked at, keeps its id.
    pub fn connector(&self, uid: &str) -> String {
        self.get(uid).map_or_else(|| id_of(uid).to_owned(), |one| one.definition.name.clone())
    }

    pub fn method(&self, uid: &str, method: &str) -> String {
        let found = self.get(uid).and_then(|one| one.definition.method(method));
        found.map_or_else(|| method.to_owned(), |method| method.label.clone())
    }

    pub fn tile(&self, uid: &str) -> Tile {
        Tile::new(&self.connector(uid), id_of(uid))
    }
}

pub fn id_of(uid: &str) -> &str {
    uid.rsplit('/').next().unwrap_or(uid)
}
