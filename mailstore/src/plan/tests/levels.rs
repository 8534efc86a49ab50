//! Levels of the hierarchy that are no mailbox themselves.

use super::*;

fn rename(level: &str, new_name: &str) -> Command {
    Command::RenameMailbox(proto::RenameMailbox {
        level: level.into(),
        new_name: new_name.into(),
        ..proto::RenameMailbox::default()
    })
}

/// The names of all mailboxes but those that every account has.
fn names(rig: &Rig) -> Vec<String> {
    let mailboxes = rig.reader().mailboxes().expect("reads");
    let names = mailboxes.into_iter().map(|(_, mailbox)| mailbox.name);
    let mut names: Vec<String> = names
        .filter(|name| !name.starts_with(char::is_uppercase))
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn a_level_is_renamed_with_all_below_it() {
    let mut rig = Rig::new();
    rig.run(create("x/y/z", SpecialUse::Unspecified))
        .expect("creates");
    rig.run(create("xx/y", SpecialUse::Unspecified)).expect("creates");
    let (id, _) = rig
        .reader()
        .mailboxes()
        .expect("reads")
        .into_iter()
        .find(|(_, mailbox)| mailbox.name == "x")
        .expect("is there");
    rig.run(Command::DeleteMailbox(proto::DeleteMailbox { mailbox: id.0 }))
        .expect("deletes");
    assert_eq!(names(&rig), ["x/y", "x/y/z", "xx", "xx/y"]);
    assert_eq!(rig.refused(rename("x", "x/below")), Reason::MailboxRefused);
    assert_eq!(rig.refused(rename("x", "xx")), Reason::MailboxExists);
    assert_eq!(rig.refused(rename("nothing", "w")), Reason::NoMailbox);
    assert_eq!(rig.refused(rename("*", "w")), Reason::NoMailbox);
    let Ok(reply::Call::Done(_)) = rig.run(rename("x", "v/w")) else {
        panic!("is renamed")
    };
    assert_eq!(names(&rig), ["v", "v/w/y", "v/w/y/z", "xx", "xx/y"]);
    // It became a mailbox meanwhile.
    let Ok(reply::Call::Mailbox(renamed)) = rig.run(rename("xx", "u")) else {
        panic!("is renamed")
    };
    assert_eq!(renamed.name, "u");
    assert_eq!(names(&rig), ["u", "u/y", "v", "v/w/y", "v/w/y/z"]);
}
