//! Sequence numbers under concurrency: three sessions on one mailbox through three proxies, against models of it.
//!
//! Each session keeps the view that a client has, from untagged responses alone (RFC 3501 §5.5 and §7.4.1), and fails when
//! a number names another message than the client believes. At the end all views and the server's own must be the same.
//! `ROOKERY_SEED` repeats a run's choices; `ROOKERY_STEPS` makes it longer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rookery_tests::{Cluster, ImapClient, Options, messages};

const SESSIONS: u64 = 3;

/// Commands of each session, unless told otherwise.
const STEPS: u32 = 1_500;

/// No further commands begin after this.
const DURATION_MAX: Duration = Duration::from_secs(20);

/// The mailbox is kept from growing beyond this.
const MESSAGES_MAX: usize = 40;

const USER: &str = "user1@example.test";

/// What is known of all messages, whichever session learned it.
#[derive(Default)]
struct Truth {
    /// The number in the subject, by UID.
    subjects: BTreeMap<u32, String>,
    /// Every UID that an answer said was given.
    born: BTreeSet<u32>,
    /// UIDs that may have been flagged \Deleted at some time.
    doomed: BTreeSet<u32>,
    /// UIDs that a session has heard to be expunged.
    gone: BTreeSet<u32>,
}

/// A message as one client sees it.
#[derive(Debug, Clone, Default)]
struct Seen {
    uid: Option<u32>,
    flags: Option<BTreeSet<String>>,
}

/// Which untagged responses a command allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allows {
    /// EXPUNGE may come.
    Expunge,
    /// RFC 3501 §7.4.1: none while answering FETCH, STORE or SEARCH, whose numbers would shift.
    NoExpunge,
}

struct Session {
    name: String,
    imap: ImapClient,
    view: Vec<Seen>,
    random: StdRng,
    truth: Arc<Mutex<Truth>>,
    keyword: String,
    /// What was said and heard lately, for whoever reads a failure.
    talk: Vec<String>,
    next_message: u64,
}

impl Session {
    fn open(cluster: &Cluster, number: u64, seed: u64, truth: &Arc<Mutex<Truth>>) -> Self {
        let imap = ImapClient::login(&cluster.proxy(number as usize).imap, USER).unwrap();
        let mut session = Self {
            name: format!("session {number}"),
            imap,
            view: Vec::new(),
            random: StdRng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(number)),
            truth: Arc::clone(truth),
            keyword: format!("$of{number}"),
            talk: Vec::new(),
            next_message: number * 1_000_000,
        };
        session.command("SELECT INBOX", Allows::Expunge);
        session.learn();
        session
    }

    fn fail(&self, why: &str) -> ! {
        let from = self.talk.len().saturating_sub(40);
        panic!(
            "{}: {why}\nview: {:?}\n{}",
            self.name,
            self.view,
            self.talk[from..].join("\n")
        );
    }

    /// Sends a command, applies all that comes, and gives its tagged answer and its other untagged responses.
    fn command(&mut self, line: &str, allows: Allows) -> (String, Vec<String>) {
        self.before_command();
        self.talk.push(format!("C: {line}"));
        let tag = self.imap.begin(line).unwrap();
        self.finish(&tag, allows)
    }

    fn finish(&mut self, tag: &str, allows: Allows) -> (String, Vec<String>) {
        let mut lines = Vec::new();
        loop {
            let response = self
                .imap
                .response()
                .unwrap_or_else(|error| self.fail(&error.to_string()));
            let line = String::from_utf8(response).unwrap();
            self.talk.push(format!("S: {line}"));
            if let Some(tagged) = line.strip_prefix(tag) {
                let tagged = tagged.trim_start().to_owned();
                if tagged.starts_with("BAD") {
                    self.fail("a correct command was answered BAD");
                }
                return (tagged, lines);
            }
            self.apply(&line, allows);
            lines.push(line);
        }
    }

    /// What has come without a command: never an EXPUNGE.
    fn before_command(&mut self) {
        while self.imap.has_pending().unwrap() {
            let line = String::from_utf8(self.imap.response().unwrap()).unwrap();
            self.talk.push(format!("S, unasked: {line}"));
            self.apply(&line, Allows::NoExpunge);
        }
    }

    fn apply(&mut self, line: &str, allows: Allows) {
        let Some(rest) = line.strip_prefix("* ") else {
            self.fail(&format!("not an untagged response: {line}"))
        };
        let (first, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let Ok(number) = first.parse::<usize>() else {
            if first == "BYE" {
                self.fail("the server says BYE");
            }
            return;
        };
        if rest == "EXISTS" {
            if number < self.view.len() {
                self.fail("EXISTS takes messages away, which only EXPUNGE may");
            }
            self.view.resize(number, Seen::default());
        } else if rest == "EXPUNGE" {
            if allows == Allows::NoExpunge {
                self.fail("EXPUNGE where numbers may not shift");
            }
            if number == 0 || number > self.view.len() {
                self.fail("EXPUNGE of a number that is not there");
            }
            let seen = self.view.remove(number - 1);
            self.truth.lock().unwrap().gone.extend(seen.uid);
        } else if let Some(items) = rest.strip_prefix("FETCH ") {
            self.apply_fetch(number, items);
        }
    }

    fn apply_fetch(&mut self, number: usize, items: &str) {
        if number == 0 || number > self.view.len() {
            self.fail("FETCH of a number that is not there");
        }
        if let Some(uid) = after(items, "UID ").and_then(|rest| rest.parse::<u32>().ok()) {
            if self.view[number - 1].uid.is_some_and(|held| held != uid) {
                self.fail(&format!("{number} is UID {uid} now"));
            }
            self.view[number - 1].uid = Some(uid);
            let neighbour = |seen: Option<&Seen>| seen.and_then(|seen| seen.uid);
            let before = if number > 1 {
                neighbour(self.view.get(number - 2))
            } else {
                None
            };
            if before.is_some_and(|before| before >= uid)
                || neighbour(self.view.get(number)).is_some_and(|next| next <= uid)
            {
                self.fail("UIDs do not ascend");
            }
        }
        if let Some(flags) = flags(items) {
            self.view[number - 1].flags = Some(flags);
        }
        if let (Some(uid), Some(subject)) = (self.view[number - 1].uid, subject(items)) {
            let held = self
                .truth
                .lock()
                .unwrap()
                .subjects
                .entry(uid)
                .or_insert_with(|| subject.clone())
                .clone();
            if held != subject {
                self.fail(&format!("UID {uid} was {held:?} and is {subject:?}"));
            }
        }
    }

    /// Asks for what the view does not know yet, as clients do after EXISTS.
    fn learn(&mut self) {
        let unknown = |seen: &Seen| seen.uid.is_none() || seen.flags.is_none();
        while let Some(first) = self.view.iter().position(unknown) {
            let count = self.view.len();
            self.command(
                &format!("FETCH {}:{count} (UID FLAGS)", first + 1),
                Allows::NoExpunge,
            );
            // Those that others have expunged meanwhile stay unknown until their EXPUNGE comes.
            if self.view.iter().any(unknown) {
                self.command("NOOP", Allows::Expunge);
            }
        }
    }

    fn uid_of(&self, number: usize) -> u32 {
        self.view[number - 1]
            .uid
            .unwrap_or_else(|| self.fail("a learned view has holes"))
    }

    /// A random range of sequence numbers, as `a:b`, and the UIDs that it names.
    fn range(&mut self, width_max: usize) -> Option<(String, Vec<u32>)> {
        if self.view.is_empty() {
            return None;
        }
        let first = self.random.random_range(1..=self.view.len());
        let last = (first + self.random.random_range(0..width_max)).min(self.view.len());
        let uids = (first..=last).map(|number| self.uid_of(number)).collect();
        Some((format!("{first}:{last}"), uids))
    }

    fn step(&mut self) {
        self.learn();
        let choice = self.random.random_range(0..100);
        let crowded = self.view.len() > MESSAGES_MAX;
        match choice {
            0..20 if !crowded => self.append(),
            20..28 if !crowded => self.copy(),
            0..28 => self.delete(4),
            28..40 => self.delete(2),
            40..50 => self.expunge(),
            50..56 => self.uid_expunge(),
            56..70 => self.store_own(),
            70..80 => self.fetch(),
            80..88 => self.search(),
            88..96 => {
                self.command("NOOP", Allows::Expunge);
            }
            _ => self.idle(),
        }
    }

    fn append(&mut self) {
        self.before_command();
        self.next_message += 1;
        let message = messages::numbered(self.next_message, 300);
        let known: Vec<u32> = self.view.iter().filter_map(|seen| seen.uid).collect();
        self.talk.push("C: APPEND INBOX".to_owned());
        let tag = self
            .imap
            .begin(&format!("APPEND INBOX {{{}+}}\r\n{message}", message.len()))
            .unwrap();
        let (tagged, _) = self.finish(&tag, Allows::Expunge);
        let uids =
            response_uids(&tagged, "APPENDUID", 2).unwrap_or_else(|| self.fail("APPEND without APPENDUID"));
        if known.last().is_some_and(|last| uids[0] <= *last) {
            self.fail(&format!(
                "the appended message's UID {} is not above all known",
                uids[0]
            ));
        }
        self.truth.lock().unwrap().born.extend(uids);
    }

    /// Copies into the same mailbox.
    fn copy(&mut self) {
        let Some((range, uids)) = self.range(3) else {
            return;
        };
        let (tagged, _) = self.command(&format!("COPY {range} INBOX"), Allows::Expunge);
        if tagged.starts_with("NO") {
            return self.must_be_gone(&uids);
        }
        let Some(from) = response_uids(&tagged, "COPYUID", 2) else {
            return self.must_be_gone(&uids);
        };
        let to = response_uids(&tagged, "COPYUID", 3).unwrap_or_default();
        if from.len() != to.len() || from.iter().any(|uid| !uids.contains(uid)) {
            self.fail(&format!("COPYUID of {from:?} to {to:?} for {uids:?}"));
        }
        let mut truth = self.truth.lock().unwrap();
        for (from, to) in from.iter().zip(&to) {
            truth.born.insert(*to);
            if truth.doomed.contains(from) {
                truth.doomed.insert(*to);
            }
        }
    }

    /// A refusal is right only where others have expunged the message; the NOOP tells.
    fn must_be_gone(&mut self, uids: &[u32]) {
        self.command("NOOP", Allows::Expunge);
        let all_there = uids
            .iter()
            .all(|uid| self.view.iter().any(|seen| seen.uid == Some(*uid)));
        if all_there {
            self.fail(&format!("refused, though UIDs {uids:?} are all there"));
        }
    }

    fn delete(&mut self, width_max: usize) {
        let Some((range, uids)) = self.range(width_max) else {
            return;
        };
        self.truth.lock().unwrap().doomed.extend(&uids);
        let by_uid = self.random.random_bool(0.3);
        if by_uid {
            let set = uids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
            self.command(&format!("UID STORE {set} +FLAGS (\\Deleted)"), Allows::Expunge);
        } else {
            self.command(&format!("STORE {range} +FLAGS (\\Deleted)"), Allows::NoExpunge);
        }
    }

    fn expunge(&mut self) {
        self.command("EXPUNGE", Allows::Expunge);
    }

    fn uid_expunge(&mut self) {
        let Some((_, uids)) = self.range(4) else { return };
        let before: Vec<u32> = self.view.iter().filter_map(|seen| seen.uid).collect();
        let (tagged, _) = self.command(
            &format!("UID EXPUNGE {}:{}", uids[0], uids[uids.len() - 1]),
            Allows::Expunge,
        );
        if !tagged.starts_with("OK") {
            self.fail("UID EXPUNGE was refused");
        }
        let after: BTreeSet<u32> = self.view.iter().filter_map(|seen| seen.uid).collect();
        let truth = self.truth.lock().unwrap();
        let wrongly = before
            .iter()
            .find(|uid| !after.contains(uid) && !truth.doomed.contains(uid))
            .copied();
        drop(truth);
        if let Some(uid) = wrongly {
            self.fail(&format!("UID {uid} went, though nobody had deleted it"));
        }
    }

    /// Sets or clears a keyword that no other session touches: the answer must show just that.
    fn store_own(&mut self) {
        let Some((range, uids)) = self.range(3) else {
            return;
        };
        let set = self.random.random_bool(0.6);
        let keyword = self.keyword.clone();
        let sign = if set { '+' } else { '-' };
        let (_, lines) = self.command(
            &format!("STORE {range} {sign}FLAGS ({keyword})"),
            Allows::NoExpunge,
        );
        for uid in uids {
            let number = self.view.iter().position(|seen| seen.uid == Some(uid)).unwrap() + 1;
            let start = format!("* {number} FETCH ");
            let told = lines
                .iter()
                .rev()
                .find(|line| line.starts_with(&start))
                .and_then(|line| flags(line));
            if told.is_some_and(|flags| flags.contains(&keyword) != set) {
                self.fail(&format!(
                    "the answer to STORE shows {keyword} wrongly for {number}"
                ));
            }
        }
    }

    fn fetch(&mut self) {
        let Some((range, uids)) = self.range(6) else {
            return;
        };
        if self.random.random_bool(0.5) {
            let items = "(UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])";
            self.command(&format!("FETCH {range} {items}"), Allows::NoExpunge);
        } else {
            // A UID command may bring EXPUNGE, but its answers name what was asked for.
            let line = format!("UID FETCH {}:{} (FLAGS)", uids[0], uids[uids.len() - 1]);
            let (_, lines) = self.command(&line, Allows::Expunge);
            if lines
                .iter()
                .any(|line| line.contains(" FETCH ") && !line.contains("UID "))
            {
                // RFC 3501 §6.4.8: UID is in every FETCH response that a UID command causes.
                self.fail("a FETCH response to UID FETCH has no UID");
            }
        }
    }

    fn search(&mut self) {
        let Some((_, uids)) = self.range(1) else { return };
        let (number, uid) = (
            self.view
                .iter()
                .position(|seen| seen.uid == Some(uids[0]))
                .unwrap()
                + 1,
            uids[0],
        );
        let count = self.view.len();
        let (tagged, lines) = self.command(&format!("SEARCH UID {uid}"), Allows::NoExpunge);
        let found = numbers_found(&lines);
        if !tagged.starts_with("OK") || !(found.is_empty() || found == [number]) {
            self.fail(&format!("UID {uid} is {number}, SEARCH finds {found:?}"));
        }
        let (_, lines) = self.command("SEARCH NOT DELETED", Allows::NoExpunge);
        if numbers_found(&lines)
            .iter()
            .any(|found| *found == 0 || *found > self.view.len().max(count))
        {
            self.fail("SEARCH finds numbers that are not there");
        }
    }

    fn idle(&mut self) {
        self.before_command();
        self.talk.push("C: IDLE".to_owned());
        let tag = self.imap.begin("IDLE").unwrap();
        loop {
            let line = String::from_utf8(self.imap.response().unwrap()).unwrap();
            self.talk.push(format!("S: {line}"));
            if line.starts_with('+') {
                break;
            }
            self.apply(&line, Allows::Expunge);
        }
        self.imap.send(b"DONE\r\n").unwrap();
        self.finish(&tag, Allows::Expunge);
    }
}

/// The word that follows a name among FETCH items.
fn after<'a>(items: &'a str, name: &str) -> Option<&'a str> {
    let start = items
        .find(&format!("({name}"))
        .or_else(|| items.find(&format!(" {name}")))?
        + 1
        + name.len();
    items[start..].split([' ', ')', '\r']).next()
}

/// The flags of a FETCH response, \Recent left out: it belongs to one session alone.
fn flags(items: &str) -> Option<BTreeSet<String>> {
    let start = items.find("FLAGS (")? + "FLAGS (".len();
    let flags = items[start..].split(')').next()?;
    Some(
        flags
            .split_whitespace()
            .filter(|flag| *flag != "\\Recent")
            .map(str::to_owned)
            .collect(),
    )
}

fn subject(items: &str) -> Option<String> {
    Some(items.split("Subject: ").nth(1)?.split("\r\n").next()?.to_owned())
}

fn numbers_found(lines: &[String]) -> Vec<usize> {
    let found = lines.iter().filter_map(|line| line.strip_prefix("* SEARCH"));
    found
        .flat_map(|line| line.split_whitespace().map(|word| word.parse().unwrap()))
        .collect()
}

/// The UIDs in the n-th word of a response code, ranges spread.
fn response_uids(tagged: &str, code: &str, word: usize) -> Option<Vec<u32>> {
    let inside = &tagged[tagged.find(&format!("[{code} "))? + 1..];
    let set = inside.split(']').next()?.split(' ').nth(word)?;
    let mut uids = Vec::new();
    for part in set.split(',') {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        uids.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(uids)
}

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

#[test]
fn numbers_name_the_same_messages_for_client_and_server() {
    let seed: u64 = from_environment("ROOKERY_SEED").unwrap_or_else(|| rand::rng().random());
    let steps: u32 = from_environment("ROOKERY_STEPS").unwrap_or(STEPS);
    println!("ROOKERY_SEED={seed}");
    let options = Options {
        mailstores: 1,
        proxies: SESSIONS as u32,
        accounts: 1,
        ..Options::default()
    };
    let cluster = Cluster::start(&options).unwrap();
    let truth = Arc::new(Mutex::new(Truth::default()));
    let began = Instant::now();
    let threads: Vec<_> = (0..SESSIONS)
        .map(|number| {
            let mut session = Session::open(&cluster, number, seed, &truth);
            std::thread::spawn(move || {
                let mut done = 0;
                while done < steps && began.elapsed() < DURATION_MAX {
                    session.step();
                    done += 1;
                }
                println!(
                    "{}: {done} commands, {} messages at the end",
                    session.name,
                    session.view.len()
                );
                session
            })
        })
        .collect();
    // All end before the first failure is told, so that it is not drowned in others that follow from it.
    let ended: Vec<_> = threads.into_iter().map(std::thread::JoinHandle::join).collect();
    let sessions: Vec<Session> = ended
        .into_iter()
        .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        .collect();

    // Nobody changes anything now: one NOOP, and every view is the server's.
    let mut fresh = Session::open(&cluster, 0, seed, &truth);
    fresh.learn();
    let state = |session: &Session| -> BTreeMap<u32, BTreeSet<String>> {
        session
            .view
            .iter()
            .map(|seen| (seen.uid.unwrap(), seen.flags.clone().unwrap()))
            .collect()
    };
    let expected = state(&fresh);
    for mut session in sessions {
        session.command("NOOP", Allows::Expunge);
        session.learn();
        assert_eq!(state(&session), expected, "{} at the end", session.name);
    }
    let truth = truth.lock().unwrap();
    let held: BTreeSet<u32> = expected.keys().copied().collect();
    assert!(
        held.is_subset(&truth.born),
        "only what was appended or copied is there"
    );
    assert!(
        held.is_disjoint(&truth.gone),
        "nothing that was expunged is there"
    );
    let lost: Vec<_> = truth
        .born
        .iter()
        .filter(|uid| !held.contains(uid) && !truth.doomed.contains(uid))
        .collect();
    assert!(lost.is_empty(), "gone, though nobody deleted them: {lost:?}");
    assert!(truth.born.len() > held.len(), "messages came and went");
}
