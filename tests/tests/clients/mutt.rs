//! mutt: reads, copies, flags and deletes in a mailbox, and sends through submission with a copy in Sent.

use std::path::{Path, PathBuf};
use std::process::Command;

use rookery_tests::{Cluster, ImapClient, SmtpClient, messages, peers};

use super::{ca, messages_of, port, scratch};

const USER: &str = "user1@example.test";

/// A mutt with a home of its own.
struct Mutt {
    home: PathBuf,
    config: PathBuf,
}

impl Mutt {
    fn new(cluster: &Cluster, folder: &str, smtp: &str) -> Self {
        let home = cluster.scratch().join("mutt-home");
        std::fs::create_dir_all(&home).unwrap();
        let config = format!(
            "set folder=\"{folder}\"\nset spoolfile=\"=INBOX\"\nset record=\"=Sent\"\n\
             set imap_user=\"{USER}\"\nset imap_pass=playground\nset smtp_url=\"{smtp}\"\nset smtp_pass=playground\n\
             set smtp_authenticators=\"plain\"\nset ssl_ca_certificates_file=\"{ca}\"\nset ssl_verify_host=yes\n\
             set ssl_starttls=yes\nset ssl_force_tls=yes\nset from=\"{USER}\"\nset use_from=yes\nset realname=Writer\n\
             set hostname=example.test\nset copy=yes\nset delete=yes\nset move=no\nset quit=yes\nset confirmappend=no\n\
             set confirmcreate=no\nset wait_key=no\nset mail_check=5\nset sort=mailbox-order\nset abort_nosubject=no\n",
            ca = ca(cluster).display(),
        );
        Self {
            home,
            config: scratch(cluster, "muttrc", config),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("env");
        command
            .env("HOME", &self.home)
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .current_dir(&self.home);
        command
    }

    /// Opens a mailbox and presses keys. mutt wants a terminal, which `script` makes.
    fn press(&self, mailbox: &str, keys: &str) {
        let script = scratch_keys(&self.home, keys);
        let mutt = peers::find("mutt");
        let line = format!(
            "{} -F {} -f {mailbox} -e 'source {}'",
            mutt.display(),
            self.config.display(),
            script.display()
        );
        let mut command = self.command();
        command.args([
            "timeout",
            "60",
            "script",
            "--quiet",
            "--return",
            "--command",
            &line,
        ]);
        let output = command.arg(self.home.join("typescript")).output().unwrap();
        let screen = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "mutt on {mailbox} ended with {}: {screen}",
            output.status
        );
    }
}

fn scratch_keys(home: &Path, keys: &str) -> PathBuf {
    let path = home.join("keys");
    std::fs::write(&path, format!("push '{keys}'\n")).unwrap();
    path
}

#[test]
fn mutt_reads_copies_and_deletes() {
    let cluster = Cluster::three();
    let mut smtp = SmtpClient::hello(&cluster.proxy(0).smtp).unwrap();
    for number in 1..=3 {
        let message = messages::numbered(number, 3_000);
        smtp.deliver(&[USER.to_owned()], &message)
            .unwrap()
            .expect("250")
            .unwrap();
    }
    let folder = format!("imaps://localhost:{}/", port(&cluster.proxy(0).imaps));
    let mutt = Mutt::new(&cluster, &folder, "");
    let read = cluster.scratch().join("read.eml");
    let keys = format!(
        "<first-entry><copy-message>=Archive<enter><next-entry><flag-message><last-entry>\
         <pipe-message>cat >{}<enter><delete-message><quit>",
        read.display()
    );
    mutt.press("=INBOX", &keys);

    let read = std::fs::read_to_string(&read).unwrap();
    assert!(
        read.contains("Subject: message 3") && read.contains("line 10 of 3: "),
        "mutt has read it: {read}"
    );
    let held = messages_of(&cluster, USER, "INBOX");
    assert_eq!(held.len(), 2, "the deleted one has gone");
    let archived = messages_of(&cluster, USER, "Archive");
    assert_eq!(archived, held[..1], "the copy is the same message");
    let mut imap = ImapClient::login(&cluster.proxy(1).imap, USER).unwrap();
    imap.command("EXAMINE INBOX").unwrap().ok().unwrap();
    assert_eq!(
        imap.command("SEARCH FLAGGED").unwrap().ok().unwrap().search(),
        [2]
    );
}

#[test]
fn mutt_sends_through_submission_and_keeps_a_copy() {
    let cluster = Cluster::three();
    let folder = format!("imap://localhost:{}/", port(&cluster.proxy(1).imap));
    let smtp = format!(
        "smtp://user1%40example.test@localhost:{}/",
        port(&cluster.proxy(0).submission)
    );
    let mutt = Mutt::new(&cluster, &folder, &smtp);
    let attachment = scratch(&cluster, "attached.bin", (0u8..=255).collect::<Vec<_>>());
    let text = scratch(&cluster, "text", "Grüße aus der Konsole\n.\nEnde\n");
    let mut command = mutt.command();
    command
        .arg(peers::find("mutt"))
        .arg("-F")
        .arg(&mutt.config)
        .args(["-s", "Größe und Maß", "-a"])
        .arg(attachment);
    command.args(["--", "user2@example.test", "user3@example.test"]);
    command.stdin(std::fs::File::open(text).unwrap());
    peers::run(&mut command).unwrap();

    for user in ["user2@example.test", "user3@example.test"] {
        let held = messages_of(&cluster, user, "INBOX");
        assert_eq!(held.len(), 1, "{user}");
        assert!(
            held[0].contains("From: Writer <user1@example.test>"),
            "{}",
            held[0]
        );
        assert!(held[0].contains("filename=\"attached.bin\"") || held[0].contains("filename=attached.bin"));
    }
    let kept = messages_of(&cluster, USER, "Sent");
    assert_eq!(kept.len(), 1, "mutt has put a copy into Sent");
    let mut imap = ImapClient::login(&cluster.proxy(0).imap, USER).unwrap();
    imap.command("SELECT Sent").unwrap().ok().unwrap();
    let found = imap
        .command("SEARCH CHARSET UTF-8 SUBJECT {7+}\r\nGröße")
        .unwrap()
        .ok()
        .unwrap();
    assert_eq!(found.search(), [1], "{:?}", found.lines());
}
