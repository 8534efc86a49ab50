//! Links of the repository's Markdown files: what they name must be there, and anchors must be headings.
//!
//! Reads Markdown as CommonMark says, and makes anchors of headings as GitHub does. Never asks the network: what has a scheme
//! (`https:`, `mailto:`) is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{BrokenLink, Event, LinkType, Options, Parser, Tag, TagEnd};

/// The destinations and anchors of one file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page {
    /// Of links and images, as written.
    destinations: Vec<String>,
    /// Of headings.
    anchors: BTreeSet<String>,
    /// What is a link by looks and leads nowhere, or cannot be checked.
    faults: Vec<String>,
}

/// The anchor that GitHub gives to a heading: lower case, letters, digits, `_` and `-` alone, spaces as `-`.
fn slug(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter(|character| character.is_alphanumeric() || matches!(character, '_' | '-' | ' '))
        .map(|character| if character == ' ' { '-' } else { character })
        .collect()
}

fn read_page(text: &str) -> Page {
    let mut unknown = Vec::new();
    let callback = |link: BrokenLink<'_>| {
        // `[text]` alone may be just that: brackets.
        if matches!(link.link_type, LinkType::Reference | LinkType::Collapsed) {
            unknown.push(format!("[{}] is defined nowhere", link.reference));
        }
        None
    };
    let mut page = Page::default();
    let mut heading: Option<String> = None;
    let mut times = BTreeMap::<String, usize>::new();
    for event in Parser::new_with_broken_link_callback(text, Options::ENABLE_TABLES, Some(callback)) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let slug = slug(&heading.take().unwrap_or_default());
                let before = times.entry(slug.clone()).or_default();
                // The second heading of a name is `name-1`.
                page.anchors.insert(match *before {
                    0 => slug,
                    before => format!("{slug}-{before}"),
                });
                *before += 1;
            }
            Event::Text(part) | Event::Code(part) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&part);
                }
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.destinations.push(dest_url.into_string());
            }
            Event::Html(html) | Event::InlineHtml(html)
                if html.contains("href=") || html.contains("src=") =>
            {
                page.faults
                    .push(format!("{} is not checked: write it as Markdown", html.trim()));
            }
            _ => {}
        }
    }
    page.faults.append(&mut unknown);
    page
}

/// Whether a destination has a scheme, and so is not of the repository.
fn is_elsewhere(destination: &str) -> bool {
    destination.split_once(':').is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.chars().all(|character| character.is_ascii_alphanumeric())
    })
}

/// Where a path leads from a folder within the root; `None` when out of it. One that begins with `/` begins at the root.
fn resolve(folder: &Path, path: &str) -> Option<PathBuf> {
    let mut reached = match path.starts_with('/') {
        true => PathBuf::new(),
        false => folder.to_path_buf(),
    };
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => reached.push(name),
            Component::ParentDir => {
                if !reached.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Some(reached)
}

/// What is wrong with the links of files, whose paths are relative to the root: `file: why` each.
pub(crate) fn wrong(root: &Path, files: &[PathBuf]) -> Vec<String> {
    let pages: BTreeMap<&Path, Page> = files
        .iter()
        .map(|file| (file.as_path(), read_page(&super::read(&root.join(file)))))
        .collect();
    let mut wrong = Vec::new();
    for (file, page) in &pages {
        let mut tell = |why: String| wrong.push(format!("{}: {why}", file.display()));
        page.faults.iter().cloned().for_each(&mut tell);
        for destination in page.destinations.iter().filter(|held| !is_elsewhere(held)) {
            let (path, anchor) = match destination.split_once('#') {
                Some((path, anchor)) => (path, Some(anchor)),
                None => (destination.as_str(), None),
            };
            let folder = file.parent().unwrap_or(Path::new(""));
            let target = match path.is_empty() {
                true => Some(file.to_path_buf()),
                false => resolve(folder, path),
            };
            match target {
                Some(target) if root.join(&target).exists() => {
                    let has_anchor = |anchor| {
                        pages
                            .get(target.as_path())
                            .is_some_and(|page| page.anchors.contains(anchor))
                    };
                    if !anchor.is_none_or(has_anchor) {
                        tell(format!("{destination} leads to no heading"));
                    }
                }
                _ => tell(format!("{destination} leads to no file of the repository")),
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_made_as_github_makes_them() {
        for (heading, anchor) in [
            ("Add a node", "add-a-node"),
            ("Without an operator's word", "without-an-operators-word"),
            ("`rookery playground`", "rookery-playground"),
            ("1 × 2 (three), four_5", "1--2-three-four_5"),
            ("A mailbox of 20,000 messages", "a-mailbox-of-20000-messages"),
            ("Größe", "größe"),
        ] {
            let page = read_page(&format!("# {heading}\n"));
            assert_eq!(page.anchors, BTreeSet::from([anchor.to_owned()]), "{heading}");
        }
        let page = read_page("# Twice\n\nText\n\nTwice\n=====\n");
        assert_eq!(
            page.anchors,
            BTreeSet::from(["twice".to_owned(), "twice-1".to_owned()])
        );
    }

    #[test]
    fn links_are_found_where_they_are_links() {
        let page = read_page(
            "| [a](a.md) | ![b](b.svg) |\n|---|---|\n| [c][c] | `[not](code.md)` |\n\n[c]: c.md\n\n```\n[not](fenced.md)\n```\n\
             brackets [alone] are text, [d][nowhere] is not\n\n<img src=\"e.png\">\n",
        );
        assert_eq!(page.destinations, ["a.md", "b.svg", "c.md"]);
        assert_eq!(page.faults.len(), 2, "{page:?}");
        assert!(page.faults[0].contains("e.png"), "{page:?}");
        assert!(page.faults[1].contains("[nowhere]"), "{page:?}");
    }

    #[test]
    fn a_link_that_leads_nowhere_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir(root.join("docs")).unwrap();
        std::fs::write(root.join("docs/plot.svg"), "").unwrap();
        std::fs::write(root.join("docs/there.md"), "# A heading\n").unwrap();
        std::fs::write(
            root.join("README.md"),
            "[1](docs/there.md) [2](docs/there.md#a-heading) [3](docs) [4](https://example.test/#x) [5](#top)\n\
             [6](mailto:a@example.test) ![7](/docs/plot.svg)\n\n# Top\n",
        )
        .unwrap();
        let right = [PathBuf::from("README.md"), PathBuf::from("docs/there.md")];
        assert_eq!(wrong(root, &right), Vec::<String>::new());
        std::fs::write(
            root.join("docs/broken.md"),
            "[1](../README.md) [2](away.md) [3](there.md#no-heading) ![4](away.svg) [5](#nowhere) [6](../../README.md)\n\
             [7](plot.svg#a-heading) [8](/there.md)\n",
        )
        .unwrap();
        let all = [right.as_slice(), &[PathBuf::from("docs/broken.md")]].concat();
        let found = wrong(root, &all);
        let named = [
            "away.md",
            "there.md#no-heading",
            "away.svg",
            "#nowhere",
            "../../README.md",
            "plot.svg#a-heading",
            "/there.md",
        ];
        assert_eq!(found.len(), named.len(), "{found:?}");
        for (found, named) in found.iter().zip(named) {
            assert!(
                found.starts_with(&format!("docs/broken.md: {named} leads to no ")),
                "{found}"
            );
        }
    }
}
