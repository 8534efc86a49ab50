//! What the fuzz target of the IMAP grammar checks, as a function that plain tests call too.
//!
//! It drives a reader as a connection would and panics when an invariant is broken; nothing else uses it.

use bytes::BytesMut;

use super::encode;
use super::frame::{CommandReader, Event, Limits, RawCommand, Recovery};
use super::parse::parse_command;
use super::pattern::Pattern;
use super::types::{CommandBody, FetchItem, MailboxName};

/// Small enough that an input of a few kilobytes can exceed every one of them.
const LIMITS: Limits = Limits {
    line_bytes_max: 1000,
    literal_bytes_max: 300,
    command_bytes_max: 1500,
    append_bytes_max: 2000,
    discard_bytes_max: 3000,
};

/// The bytes of a connection: the same steps come out however they are cut, and every command is parsed or refused.
///
/// # Panics
/// An invariant is broken.
pub fn imap_command(input: &[u8]) {
    let whole = transcript(input, input.len().max(1), LIMITS);
    for piece in [1, 2, 7] {
        assert_eq!(transcript(input, piece, LIMITS), whole, "in pieces of {piece}");
    }
}

/// What a connection did, step by step, when it read `input` in pieces of so many bytes. Messages for the mailbox
/// `refused` are refused.
pub fn transcript(input: &[u8], piece: usize, limits: Limits) -> Vec<String> {
    let mut reader = CommandReader::new(limits);
    let mut buffer = BytesMut::new();
    let mut steps: Vec<String> = Vec::new();
    let mut message: Option<Vec<u8>> = None;
    for bytes in input.chunks(piece.max(1)) {
        buffer.extend_from_slice(bytes);
        loop {
            let event = reader.next(&mut buffer);
            if let Event::AppendChunk(octets) = &event {
                assert!(!octets.is_empty(), "an empty chunk");
                message.get_or_insert_default().extend_from_slice(octets);
                continue;
            }
            if event == Event::NeedMore {
                break;
            }
            steps.extend(message.take().map(|octets| format!("octets {}", shown(&octets))));
            match event {
                Event::NeedMore | Event::AppendChunk(_) => {}
                Event::Continue { size } => {
                    assert!(size <= limits.literal_bytes_max);
                    steps.push(format!("+ {size}"));
                }
                Event::AppendLiteral(head) => {
                    assert!(head.size <= limits.append_bytes_max);
                    steps.push(format!("append {head:?}"));
                    if head.mailbox.as_str() == "refused" {
                        steps.push(format!("refused {:?}", reader.refuse_append()));
                    } else {
                        assert_eq!(reader.accept_append(), head.synchronising);
                    }
                }
                Event::Command(raw) => steps.push(parsed(&raw)),
                Event::Rejected(rejection) => {
                    let tag = rejection.tag.as_ref().map_or("*", |tag| tag.as_str());
                    steps.push(format!("{tag} {} {:?}", rejection.reason, rejection.recovery));
                    if rejection.recovery == Recovery::Close {
                        return steps;
                    }
                }
            }
        }
        let held = limits.line_bytes_max.max(limits.literal_bytes_max) + 2 + piece;
        assert!(buffer.len() <= held, "{} bytes held", buffer.len());
    }
    steps.extend(message.take().map(|octets| format!("octets {}", shown(&octets))));
    steps
}

fn parsed(raw: &RawCommand) -> String {
    match parse_command(raw) {
        Ok(command) => {
            check(&command.body);
            format!("{command:?}")
        }
        Err(error) => {
            assert!(error.reason.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            format!(
                "{} {:?} {error}",
                error.tag.as_ref().map_or("*", |tag| tag.as_str()),
                error.kind
            )
        }
    }
}

/// What is true of everything that was parsed.
fn check(body: &CommandBody) {
    let mut out = Vec::new();
    match body {
        CommandBody::Select(name) | CommandBody::Examine(name) | CommandBody::Delete(name) => {
            check_name(name)
        }
        CommandBody::List(list) => {
            for pattern in &list.patterns {
                let _ = Pattern::new(&list.reference, pattern).matches(&MailboxName::new("INBOX/a/b"));
            }
        }
        CommandBody::Fetch { set, items, .. } => {
            assert!(!items.is_empty());
            let plain: Vec<u32> = (1..=40).filter(|number| set.contains(*number, 40)).collect();
            assert_eq!(set.iter(40).collect::<Vec<_>>(), plain);
            for item in items {
                if let FetchItem::BodySection { section, .. } = item {
                    encode::section(&mut out, section);
                }
            }
            assert!(out.iter().all(u8::is_ascii_graphic) || out.contains(&b' '));
            assert!(!out.contains(&b'\n'), "a section that breaks the line");
        }
        _ => {}
    }
}

fn check_name(name: &MailboxName) {
    let wire = name.to_wire();
    assert!(wire.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    assert_eq!(&MailboxName::from_wire(&wire), name);
}

fn shown(octets: &[u8]) -> String {
    octets.escape_ascii().to_string()
}
