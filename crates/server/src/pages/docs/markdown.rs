//! Our own Markdown as HTML: headings can be linked to, links between files lead to their pages, wide tables scroll.

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// As GitHub makes them: links between our files are written for it.
fn anchor(text: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || matches!(c, '-' | '_') => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    text.chars().filter_map(kept).collect()
}

/// Where a link of a file leads on these pages; `None`: nowhere here.
fn target(link: &str) -> Option<String> {
    if link.starts_with("https://") || link.starts_with("http://") || link.starts_with(['#', '/']) {
        return Some(link.to_owned());
    }
    let (file, fragment) =
        link.split_once('#').map_or((link, String::new()), |(file, at)| (file, format!("#{at}")));
    let name = file.rsplit('/').next()?.strip_suffix(".md")?;
    match name {
        "errors" => Some(format!("/docs/errors{fragment}")),
        name if super::guides::text(name).is_some() => Some(format!("/docs/guides/{name}{fragment}")),
        _ => None,
    }
}

fn escaped(text: &str) -> String {
    crate::texts::Rich::of(&text.replace('`', "")).to_string()
}

/// HTML of one of our own files: what stands in it is trusted. `table`: what a table is called for those who listen.
pub fn html(source: &str, table: &str) -> String {
    let events: Vec<Event<'_>> = Parser::new_ext(source, Options::ENABLE_TABLES).collect();
    let mut out = Vec::with_capacity(events.len());
    let mut dropped = Vec::new();
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                let words: String = events[at..]
                    .iter()
                    .take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))))
                    .filter_map(|event| match event {
                        Event::Text(text) | Event::Code(text) => Some(text.to_string()),
                        _ => None,
                    })
                    .collect();
                let level = *level as usize;
                out.push(Event::Html(format!("<h{level} id=\"{}\">", anchor(&words)).into()));
            }
            Event::End(TagEnd::Heading(level)) => {
                let level: HeadingLevel = *level;
                out.push(Event::Html(format!("</h{}>\n", level as usize).into()));
            }
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let to = target(dest_url);
                dropped.push(to.is_none());
                if let Some(to) = to {
                    let (title, id) = (title.clone(), id.clone());
                    out.push(Event::Start(Tag::Link {
                        link_type: *link_type,
                        dest_url: CowStr::from(to),
                        title,
                        id,
                    }));
                }
            }
            Event::End(TagEnd::Link) => {
                if dropped.pop() == Some(false) {
                    out.push(event.clone());
                }
            }
            Event::Start(Tag::Table(_)) => {
                let label = escaped(table);
                out.push(Event::Html(
                    format!("<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"{label}\">")
                        .into(),
                ));
                out.push(event.clone());
            }
            Event::End(TagEnd::Table) => {
                out.push(event.clone());
                out.push(Event::Html("</div>\n".into()));
            }
            other => out.push(other.clone()),
        }
    }
    let mut page = String::with_capacity(2 * source.len());
    pulldown_cmark::html::push_html(&mut page, out.into_iter());
    // What scrolls sideways is reached by keyboard too.
    page.replace("<pre>", "<pre tabindex=\"0\">").replace("<th></th>", "<td></td>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_pages_and_headings_can_be_linked_to() {
        let source = "# One `two`\n\n[a](connectors.md#templates) [b](auth/bearer.md) [c](RELIABILITY.md) [d](https://example.com)\n\n| a |\n| - |\n| b |\n";
        let page = html(source, "Table");
        assert!(page.contains("<h1 id=\"one-two\">One <code>two</code></h1>"), "{page}");
        assert!(
            page.contains("href=\"/docs/guides/connectors#templates\"")
                && page.contains("href=\"/docs/guides/bearer\""),
            "{page}"
        );
        assert!(page.contains(" c ") && page.contains("href=\"https://example.com\""), "{page}");
        assert!(
            page.contains("<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Table\"><table>"),
            "{page}"
        );
    }
}
