//! LIST. RFC 3501 §6.3.8; options by RFC 5258, RFC 5819 (STATUS) and RFC 6154 (SPECIAL-USE).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use rookery_mail::imap::encode::{self, ListAttribute, ResponseCode};
use rookery_mail::imap::pattern::Pattern;
use rookery_mail::imap::types::{HIERARCHY_DELIMITER, ListCommand, MailboxName, SpecialUse};
use rookery_proto::mailstore::v1::{self as mailstore, Mailbox, Mailboxes};

use super::{mailboxes, status};
use crate::imap::answer::{Answer, Failure};
use crate::imap::connection::Client;

/// Bytes of all the patterns of one command, each with the reference. The names of mailboxes are compared with all of
/// them; two that are as long as a name may be have room.
const PATTERN_BYTES_MAX: usize = 4 * 1024;

/// Names compared between two occasions for other tasks to run.
const NAMES_AT_ONCE: usize = 200;

pub(in crate::imap) async fn run(client: &mut Client, command: &ListCommand) -> Result<Answer, Failure> {
    // An empty pattern asks for the delimiter and the root of the reference.
    if !command.extended && command.patterns.iter().all(String::is_empty) {
        encode::list(
            &mut client.wire.output,
            &[ListAttribute::NoSelect],
            &MailboxName::new(""),
            false,
        );
        return Ok(Answer::ok("LIST completed"));
    }
    let patterns = patterns(&command.reference, &command.patterns)?;
    let found = mailboxes::all(&*client.account()?).await?;
    for line in lines(&found, command, &patterns).await {
        let out = &mut client.wire.output;
        encode::list(out, &line.attributes, &line.name, line.subscribed_below);
        if let Some(mailbox) = line.mailbox.filter(|_| !command.returns.status.is_empty()) {
            status::write(out, &line.name, mailbox, &command.returns.status);
        }
        client.wire.drain().await?;
    }
    Ok(Answer::ok("LIST completed"))
}

/// The patterns of a command; refused when they are too large together.
pub(super) fn patterns(reference: &str, patterns: &[impl AsRef<str>]) -> Result<Vec<Pattern>, Answer> {
    let bytes: usize = patterns
        .iter()
        .map(|pattern| reference.len() + pattern.as_ref().len())
        .sum();
    if bytes > PATTERN_BYTES_MAX {
        return Err(Answer::no("the patterns are too long").code(ResponseCode::Limit));
    }
    let patterns = patterns.iter();
    Ok(patterns
        .map(|pattern| Pattern::new(reference, pattern.as_ref()))
        .collect())
}

/// Those of the names that match any of the patterns. Thousands of names and large patterns are much to compare, so
/// others get their turn in between.
pub(super) async fn matching<'a>(names: &BTreeSet<&'a str>, patterns: &[Pattern]) -> BTreeSet<&'a str> {
    let mut matching = BTreeSet::new();
    for (index, name) in names.iter().enumerate() {
        if index % NAMES_AT_ONCE == NAMES_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        let mailbox = MailboxName::new(*name);
        if patterns.iter().any(|pattern| pattern.matches(&mailbox)) {
            matching.insert(*name);
        }
    }
    matching
}

/// One untagged LIST.
#[derive(Debug)]
struct Line<'a> {
    name: MailboxName,
    attributes: Vec<ListAttribute>,
    subscribed_below: bool,
    /// Absent for names that cannot be selected.
    mailbox: Option<&'a Mailbox>,
}

/// What there is under a name.
#[derive(Debug, Clone, Copy)]
enum Entry<'a> {
    Mailbox(&'a Mailbox),
    /// Only a level above others.
    Parent,
    /// Subscribed to, and not there.
    Missing,
}

/// The names of an account with what there is under them.
struct Names<'a> {
    existing: BTreeMap<&'a str, Option<&'a Mailbox>>,
    subscribed: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    fn new(found: &'a Mailboxes) -> Self {
        let mut existing: BTreeMap<&str, Option<&Mailbox>> = BTreeMap::new();
        for mailbox in &found.mailboxes {
            for parent in parents(&mailbox.name) {
                existing.entry(parent).or_default();
            }
            existing.insert(&mailbox.name, Some(mailbox));
        }
        Self {
            existing,
            subscribed: found.subscriptions.iter().map(String::as_str).collect(),
        }
    }

    /// Whether anything exists below the name.
    fn has_children(&self, name: &str) -> bool {
        let below = below(name);
        self.existing
            .range(below.as_str()..)
            .next()
            .is_some_and(|(next, _)| next.starts_with(&below))
    }

    /// Subscribed names below a name.
    fn subscribed_below(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let below = below(name);
        let from = (Bound::Included(below.as_str()), Bound::Unbounded);
        let range = self.subscribed.range::<str, _>(from).copied();
        range
            .take_while(|next| next.starts_with(&below))
            .collect::<Vec<_>>()
            .into_iter()
    }
}

fn below(name: &str) -> String {
    format!("{name}{HIERARCHY_DELIMITER}")
}

/// The levels above a name, from the root.
pub(super) fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices(HIERARCHY_DELIMITER)
        .map(|(end, _)| &name[..end])
}

async fn lines<'a>(found: &'a Mailboxes, command: &ListCommand, patterns: &[Pattern]) -> Vec<Line<'a>> {
    let names = Names::new(found);
    let mut entries: BTreeMap<&str, Entry<'a>> = names
        .existing
        .iter()
        .map(|(name, mailbox)| (*name, mailbox.map_or(Entry::Parent, Entry::Mailbox)))
        .collect();
    if command.selection.subscribed {
        for name in &names.subscribed {
            entries.entry(name).or_insert(Entry::Missing);
            // RFC 5258 §3.5: a level that does not exist can stand for what is subscribed below it.
            for parent in parents(name).filter(|_| command.selection.recursive_match) {
                entries.entry(parent).or_insert(Entry::Missing);
            }
        }
    }
    let matching = matching(&entries.keys().copied().collect(), patterns).await;
    let mut lines = Vec::new();
    for (name, entry) in entries.into_iter().filter(|(name, _)| matching.contains(name)) {
        let special_use = match entry {
            Entry::Mailbox(mailbox) => from_wire(mailbox.special_use()),
            Entry::Parent | Entry::Missing => None,
        };
        let is_subscribed = names.subscribed.contains(name);
        let selection = &command.selection;
        let selected =
            (!selection.subscribed || is_subscribed) && (!selection.special_use || special_use.is_some());
        // Only for what is not listed itself, as RFC 5258 §3.5 says.
        let subscribed_below = selection.recursive_match
            && selection.subscribed
            && names
                .subscribed_below(name)
                .any(|child| !matching.contains(child));
        if !selected && !subscribed_below {
            continue;
        }
        let mut attributes = Vec::new();
        match entry {
            Entry::Mailbox(_) => {}
            Entry::Parent => attributes.push(ListAttribute::NoSelect),
            Entry::Missing => attributes.push(ListAttribute::NonExistent),
        }
        if is_subscribed && (selection.subscribed || command.returns.subscribed) {
            attributes.push(ListAttribute::Subscribed);
        }
        attributes.push(match names.has_children(name) {
            true => ListAttribute::HasChildren,
            false => ListAttribute::HasNoChildren,
        });
        attributes.extend(special_use.map(ListAttribute::Use));
        let mailbox = match entry {
            Entry::Mailbox(mailbox) => Some(mailbox),
            Entry::Parent | Entry::Missing => None,
        };
        lines.push(Line {
            name: MailboxName::new(name),
            attributes,
            subscribed_below,
            mailbox,
        });
    }
    lines
}

fn from_wire(special_use: mailstore::SpecialUse) -> Option<SpecialUse> {
    Some(match special_use {
        mailstore::SpecialUse::Unspecified => return None,
        mailstore::SpecialUse::All => SpecialUse::All,
        mailstore::SpecialUse::Archive => SpecialUse::Archive,
        mailstore::SpecialUse::Drafts => SpecialUse::Drafts,
        mailstore::SpecialUse::Flagged => SpecialUse::Flagged,
        mailstore::SpecialUse::Junk => SpecialUse::Junk,
        mailstore::SpecialUse::Sent => SpecialUse::Sent,
        mailstore::SpecialUse::Trash => SpecialUse::Trash,
    })
}

#[cfg(test)]
mod tests {
    use rookery_mail::imap::frame::RawCommand;
    use rookery_mail::imap::parse::parse_command;
    use rookery_mail::imap::types::CommandBody;

    use super::*;
    use crate::imap::answer::Code;

    fn account() -> Mailboxes {
        let mailbox = |name: &str, special_use: mailstore::SpecialUse| Mailbox {
            name: name.to_owned(),
            special_use: special_use.into(),
            ..Mailbox::default()
        };
        let none = mailstore::SpecialUse::Unspecified;
        Mailboxes {
            mailboxes: vec![
                mailbox("INBOX", none),
                mailbox("Sent", mailstore::SpecialUse::Sent),
                mailbox("a", none),
                mailbox("a b", none),
                mailbox("a/b/c", none),
                mailbox("x/y", none),
            ],
            subscriptions: vec!["a/b/c".into(), "gone/deep".into(), "INBOX".into()],
            modseq: 1,
        }
    }

    async fn listed(arguments: &str) -> String {
        let raw = RawCommand::from_line(format!("a LIST {arguments}").as_bytes());
        let CommandBody::List(command) = parse_command(&raw).unwrap().body else {
            panic!()
        };
        let mut out = Vec::new();
        let patterns = patterns(&command.reference, &command.patterns).unwrap();
        for line in lines(&account(), &command, &patterns).await {
            encode::list(&mut out, &line.attributes, &line.name, line.subscribed_below);
        }
        String::from_utf8(out).unwrap().replace("\r\n", "\n")
    }

    #[tokio::test]
    async fn plain_lists() {
        assert_eq!(
            listed("\"\" %").await,
            "* LIST (\\HasNoChildren) \"/\" INBOX\n\
             * LIST (\\HasNoChildren \\Sent) \"/\" Sent\n\
             * LIST (\\HasChildren) \"/\" a\n\
             * LIST (\\HasNoChildren) \"/\" \"a b\"\n\
             * LIST (\\Noselect \\HasChildren) \"/\" x\n"
        );
        assert_eq!(
            listed("a/ %").await,
            "* LIST (\\Noselect \\HasChildren) \"/\" a/b\n"
        );
        assert_eq!(listed("\"\" *c").await, "* LIST (\\HasNoChildren) \"/\" a/b/c\n");
        assert_eq!(
            listed("\"\" inbox").await,
            "* LIST (\\HasNoChildren) \"/\" INBOX\n"
        );
    }

    #[tokio::test]
    async fn selections() {
        assert_eq!(
            listed("(SPECIAL-USE) \"\" *").await,
            "* LIST (\\HasNoChildren \\Sent) \"/\" Sent\n"
        );
        assert_eq!(
            listed("(SUBSCRIBED) \"\" *").await,
            "* LIST (\\Subscribed \\HasNoChildren) \"/\" INBOX\n\
             * LIST (\\Subscribed \\HasNoChildren) \"/\" a/b/c\n\
             * LIST (\\NonExistent \\Subscribed \\HasNoChildren) \"/\" gone/deep\n"
        );
        assert_eq!(
            listed("(SUBSCRIBED RECURSIVEMATCH) \"\" %").await,
            "* LIST (\\Subscribed \\HasNoChildren) \"/\" INBOX\n\
             * LIST (\\HasChildren) \"/\" a (\"CHILDINFO\" (\"SUBSCRIBED\"))\n\
             * LIST (\\NonExistent \\HasNoChildren) \"/\" gone (\"CHILDINFO\" (\"SUBSCRIBED\"))\n"
        );
    }

    #[tokio::test]
    async fn others_get_their_turn() {
        let names: Vec<String> = (0..NAMES_AT_ONCE * 2).map(|n| format!("box{n}")).collect();
        let names = names.iter().map(String::as_str).collect();
        let patterns = patterns("", &["*1".to_owned()]).unwrap();
        let mut matching = std::pin::pin!(matching(&names, &patterns));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(matching.as_mut().poll(&mut context).is_pending());
        assert_eq!(matching.await.len(), NAMES_AT_ONCE * 2 / 10);
    }

    #[test]
    fn patterns_are_bounded_together() {
        let pattern = "a*".repeat(PATTERN_BYTES_MAX / 8);
        let many = |count| vec![pattern.clone(); count];
        assert_eq!(patterns("", &many(4)).unwrap().len(), 4);
        for refused in [patterns("", &many(5)), patterns("x", &many(4))] {
            assert_eq!(refused.unwrap_err().code, Some(Code::Plain(ResponseCode::Limit)));
        }
    }
}
