//! LSUB. RFC 3501 §6.3.9. Thunderbird wants levels above subscribed names as \Noselect.

use std::collections::{BTreeMap, BTreeSet};

use rookery_mail::imap::encode::{self, ListAttribute};
use rookery_mail::imap::pattern::Pattern;
use rookery_mail::imap::types::MailboxName;
use rookery_proto::mailstore::v1::Mailboxes;

use super::{list, mailboxes};
use crate::imap::answer::{Answer, Failure};
use crate::imap::connection::Client;

pub(in crate::imap) async fn run(
    client: &mut Client,
    reference: &str,
    pattern: &str,
) -> Result<Answer, Failure> {
    let patterns = list::patterns(reference, &[pattern])?;
    let found = mailboxes::all(&*client.account()?).await?;
    for (name, is_subscribed) in lines(&found, &patterns).await {
        let attributes: &[ListAttribute] = if is_subscribed {
            &[]
        } else {
            &[ListAttribute::NoSelect]
        };
        encode::lsub(&mut client.wire.output, attributes, &MailboxName::new(name));
        client.wire.drain().await?;
    }
    Ok(Answer::ok("LSUB completed"))
}

/// Names, and whether they are subscribed to themselves.
async fn lines<'a>(found: &'a Mailboxes, patterns: &[Pattern]) -> BTreeMap<&'a str, bool> {
    let subscribed = || found.subscriptions.iter().map(String::as_str);
    // Each level once, however many names are below it.
    let names: BTreeSet<&str> = subscribed().flat_map(list::parents).chain(subscribed()).collect();
    let matching = list::matching(&names, patterns).await;
    let mut lines = BTreeMap::new();
    for name in subscribed() {
        if matching.contains(name) {
            lines.insert(name, true);
        } else {
            // RFC 3501 §6.3.9: a level that matches stands for what is subscribed below and does not.
            for parent in list::parents(name).filter(|parent| matching.contains(parent)) {
                lines.entry(parent).or_insert(false);
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn levels_stand_for_what_is_below() {
        let subscriptions = ["INBOX", "a", "a/b", "foo/bar", "foo/bar/baz"]
            .map(str::to_owned)
            .to_vec();
        let found = Mailboxes {
            subscriptions,
            ..Mailboxes::default()
        };
        let listed = async |pattern: &str| {
            let lines = lines(&found, &[Pattern::new("", pattern)]).await;
            lines.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(listed("%").await, [("INBOX", true), ("a", true), ("foo", false)]);
        assert_eq!(listed("foo/%").await, [("foo/bar", true)]);
        assert_eq!(listed("*").await.len(), 5);
        assert_eq!(listed("nothing").await, []);
    }
}
