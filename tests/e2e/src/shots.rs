//! Pictures of pages, whole.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::Browser;

/// Where `cargo xtask screenshots` wants them; without it, none are made.
fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("LATCHSTRING_TEST_SCREENSHOTS")?);
    std::fs::create_dir_all(&folder).expect("a folder for screenshots");
    Some(folder)
}

impl Browser {
    /// Saves the page as `name.png`, if pictures are wanted.
    pub fn picture(&self, name: &str) {
        let Some(folder) = folder() else { return };
        let height = self
            .js("return Math.max(document.documentElement.scrollHeight, innerHeight)")
            .as_u64()
            .unwrap_or(1000);
        let width = self.js("return innerWidth").as_u64().unwrap_or(1600);
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height.min(8000), "scale": 1});
        let taken = self.devtools(
            "Page.captureScreenshot",
            json!({"format": "png", "captureBeyondViewport": true, "clip": clip}),
        );
        let bytes = STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64");
        std::fs::write(folder.join(format!("{name}.png")), bytes).expect("a picture can be saved");
    }
}
