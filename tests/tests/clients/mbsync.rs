//! mbsync in both directions: 500 messages byte for byte, flags, new messages and deletions of both sides.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use rookery_tests::imap::literals;
use rookery_tests::{Cluster, ImapClient, SmtpClient, messages, peers};

use super::{ca, port, scratch};

/// Messages of the first synchronisation.
const MESSAGES: u64 = 500;

const USER: &str = "user1@example.test";

/// A configured mbsync with its local Maildir.
struct Mbsync {
    config: PathBuf,
    maildir: PathBuf,
}

impl Mbsync {
    fn new(cluster: &Cluster, name: &str, endpoint: &str, tls: &str) -> Self {
        let root = cluster.scratch().join(name);
        std::fs::create_dir(&root).unwrap();
        let config = format!(
            "IMAPStore remote\nHost localhost\nPort {port}\nUser {USER}\nPass playground\nSSLType {tls}\n\
             SystemCertificates no\nCertificateFile {ca}\nAuthMechs LOGIN\n\n\
             MaildirStore local\nPath {root}/\nInbox {root}/INBOX\nSubFolders Verbatim\n\n\
             Channel all\nFar :remote:\nNear :local:\nPatterns *\nCreate Both\nExpunge Both\nSync All\n\
             CopyArrivalDate yes\nSyncState *\n",
            port = port(endpoint),
            ca = ca(cluster).display(),
            root = root.display(),
        );
        let config = scratch(cluster, &format!("{name}.mbsyncrc"), config);
        Self {
            config,
            maildir: root.join("INBOX"),
        }
    }

    fn sync(&self) -> String {
        let mut command = Command::new(peers::find("mbsync"));
        let output = peers::run(command.arg("-V").arg("-c").arg(&self.config).arg("-a")).unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Every message of the local INBOX: its file's path, without the line that mbsync puts in, CRLF again.
    fn local(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        for folder in ["cur", "new"] {
            for entry in std::fs::read_dir(self.maildir.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let text = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
                found.insert(path, as_sent(&text));
            }
        }
        found
    }

    /// The local file of a numbered message.
    fn file(&self, number: u64) -> PathBuf {
        let wanted = format!("\r\nMessage-ID: <{number}@remote.test>\r\n");
        let local = self.local();
        let found: Vec<_> = local
            .iter()
            .filter(|(_, text)| text.contains(&wanted))
            .map(|(path, _)| path)
            .collect();
        assert_eq!(found.len(), 1, "message {number} is there once: {found:?}");
        found[0].clone()
    }

    fn has(&self, number: u64) -> bool {
        let wanted = format!("\r\nMessage-ID: <{number}@remote.test>\r\n");
        self.local().values().any(|text| text.contains(&wanted))
    }
}

/// What a Maildir keeps, as it came over the wire: mbsync stores bare LF and adds its own mark to the header.
fn as_sent(text: &str) -> String {
    assert!(!text.contains('\r'), "a Maildir holds bare LF: {text:?}");
    let lines = text
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("X-TUID: "));
    lines
        .flat_map(|line| {
            [
                line.trim_end_matches('\n'),
                if line.ends_with('\n') { "\r\n" } else { "" },
            ]
        })
        .collect()
}

/// A message of the usual kind, with what tends to be damaged on the way.
fn message(number: u64) -> String {
    let mut text = messages::numbered(number, 500 + (number as usize % 10) * 700);
    text.push_str("From the start of a line, as mbox files fear\r\n");
    text.push_str(".a leading dot\r\n..two of them\r\n.\u{20}\r\n");
    text.push_str("trailing blanks   \t \r\n\r\n\r\n");
    text.push_str("Größe, žluťoučký kůň, 日本語, 😀\r\n");
    if number.is_multiple_of(3) {
        text.push_str(&format!("{}\r\n", "long line ".repeat(90)));
    }
    text
}

fn flags_of(path: &Path) -> String {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    name.rsplit_once(":2,")
        .map_or_else(String::new, |(_, flags)| flags.to_owned())
}

/// Sets a local message's flags, as a mail reader does.
fn set_flags(path: &Path, flags: &str) {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let base = name
        .rsplit_once(":2,")
        .map_or(name.as_str(), |(base, _)| base)
        .to_owned();
    let folder = path.parent().unwrap().parent().unwrap().join("cur");
    std::fs::rename(path, folder.join(format!("{base}:2,{flags}"))).unwrap();
}

/// The UID of a numbered message on the server.
fn uid(imap: &mut ImapClient, number: u64) -> Option<u32> {
    let wanted = format!("UID SEARCH HEADER Message-ID <{number}@remote.test>");
    imap.command(&wanted)
        .unwrap()
        .ok()
        .unwrap()
        .search()
        .first()
        .copied()
}

fn remote_flags(imap: &mut ImapClient, number: u64) -> String {
    let uid = uid(imap, number).unwrap_or_else(|| panic!("message {number} is on the server"));
    let lines = imap
        .command(&format!("UID FETCH {uid} (FLAGS)"))
        .unwrap()
        .ok()
        .unwrap()
        .lines();
    lines
        .iter()
        .find(|line| line.contains("FLAGS ("))
        .unwrap()
        .clone()
}

/// Flags and UIDs of a whole mailbox, for comparing before and after.
fn remote_state(imap: &mut ImapClient) -> Vec<String> {
    let mut state = imap.command("SELECT INBOX").unwrap().ok().unwrap().lines();
    state.extend(
        imap.command("UID FETCH 1:* (FLAGS)")
            .unwrap()
            .ok()
            .unwrap()
            .lines(),
    );
    state.retain(|line| !line.contains("RECENT"));
    // \Recent belongs to whoever selects first, not to the message.
    state
        .iter()
        .map(|line| line.replace(" \\Recent", "").replace("\\Recent", ""))
        .collect()
}

fn two_way(cluster: &Cluster, mbsync: &Mbsync) {
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    for number in 0..MESSAGES {
        smtp.deliver(&[USER.to_owned()], &message(number))
            .unwrap()
            .expect("250")
            .unwrap();
    }
    mbsync.sync();
    let local = mbsync.local();
    assert_eq!(local.len() as u64, MESSAGES);
    for number in 0..MESSAGES {
        let file = mbsync.file_in(&local, number);
        assert!(
            file.ends_with(&message(number)),
            "message {number} is as it was sent: {file}"
        );
        let trace = &file[..file.len() - message(number).len()];
        assert!(
            trace.starts_with("Return-Path: <sender@remote.test>\r\n"),
            "only trace lines come before: {trace}"
        );
    }

    // Changes of both sides at once.
    let mut imap = ImapClient::login(&cluster.proxy(1).imap, USER).unwrap();
    imap.command("SELECT INBOX").unwrap().ok().unwrap();
    set_flags(&mbsync.file(1), "S");
    set_flags(&mbsync.file(2), "FRS");
    let answered = uid(&mut imap, 3).unwrap();
    imap.command(&format!("UID STORE {answered} +FLAGS (\\Answered \\Seen)"))
        .unwrap()
        .ok()
        .unwrap();
    let flagged = uid(&mut imap, 4).unwrap();
    imap.command(&format!("UID STORE {flagged} +FLAGS (\\Flagged)"))
        .unwrap()
        .ok()
        .unwrap();
    std::fs::remove_file(mbsync.file(5)).unwrap();
    let removed = uid(&mut imap, 6).unwrap();
    imap.command(&format!("UID STORE {removed} +FLAGS (\\Deleted)"))
        .unwrap()
        .ok()
        .unwrap();
    imap.command("EXPUNGE").unwrap().ok().unwrap();
    let written = message(MESSAGES);
    std::fs::write(
        mbsync.maildir.join("new").join("1.local.host"),
        written.replace("\r\n", "\n"),
    )
    .unwrap();
    let late = message(MESSAGES + 1);
    smtp.deliver(&[USER.to_owned()], &late)
        .unwrap()
        .expect("250")
        .unwrap();
    mbsync.sync();

    imap.command("NOOP").unwrap().ok().unwrap();
    assert!(remote_flags(&mut imap, 1).contains("\\Seen"));
    let both = remote_flags(&mut imap, 2);
    assert!(
        ["\\Seen", "\\Flagged", "\\Answered"]
            .iter()
            .all(|flag| both.contains(flag)),
        "{both}"
    );
    assert_eq!(flags_of(&mbsync.file(3)), "RS");
    assert_eq!(flags_of(&mbsync.file(4)), "F");
    assert_eq!(
        uid(&mut imap, 5),
        None,
        "what was deleted locally goes on the server"
    );
    assert!(!mbsync.has(6), "what was expunged on the server goes locally");
    let appended = uid(&mut imap, MESSAGES).expect("what was written locally is on the server");
    let fetched = imap
        .command(&format!("UID FETCH {appended} BODY.PEEK[]"))
        .unwrap()
        .ok()
        .unwrap();
    let body = String::from_utf8(literals(&fetched.untagged[0]).remove(0)).unwrap();
    let body: String = body
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with("X-TUID: "))
        .collect();
    assert_eq!(body, written);
    assert!(mbsync.has(MESSAGES + 1));

    // Once more: nothing is left to do.
    let (local, remote) = (mbsync.local(), remote_state(&mut imap));
    mbsync.sync();
    assert_eq!(
        mbsync.local().keys().collect::<Vec<_>>(),
        local.keys().collect::<Vec<_>>()
    );
    assert_eq!(remote_state(&mut imap), remote);
}

impl Mbsync {
    /// The text of a numbered message among files already read.
    fn file_in<'a>(&self, local: &'a BTreeMap<PathBuf, String>, number: u64) -> &'a str {
        let wanted = format!("\r\nMessage-ID: <{number}@remote.test>\r\n");
        local
            .values()
            .find(|text| text.contains(&wanted))
            .unwrap_or_else(|| panic!("message {number} is missing"))
    }
}

#[test]
fn mbsync_keeps_500_messages_in_step_over_tls() {
    let cluster = Cluster::three();
    let mbsync = Mbsync::new(&cluster, "over-tls", &cluster.proxy(0).imaps, "IMAPS");
    two_way(&cluster, &mbsync);

    // A second computer begins from nothing, through the other proxy, and ends with the same mail.
    let second = Mbsync::new(&cluster, "over-starttls", &cluster.proxy(1).imap, "STARTTLS");
    second.sync();
    let texts = |mbsync: &Mbsync| {
        let mut texts: Vec<String> = mbsync.local().into_values().collect();
        texts.sort();
        texts
    };
    assert!(
        texts(&second) == texts(&mbsync),
        "both computers hold the same mail"
    );
}

#[test]
fn mbsync_refuses_a_server_of_another_authority() {
    let cluster = Cluster::three();
    let other = Cluster::single();
    let config = Mbsync::new(&cluster, "mistaken", &cluster.proxy(0).imaps, "IMAPS").config;
    let text = std::fs::read_to_string(&config).unwrap();
    let mistaken = text.replace(
        &ca(&cluster).display().to_string(),
        &ca(&other).display().to_string(),
    );
    std::fs::write(&config, mistaken).unwrap();
    let output = Command::new(peers::find("mbsync"))
        .arg("-c")
        .arg(&config)
        .arg("-a")
        .output()
        .unwrap();
    assert!(!output.status.success(), "a certificate of another CA is refused");
}
