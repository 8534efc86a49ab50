//! What an IDLE session knows of its mailbox, from nothing but what it was told.

use super::answers;

/// What the session has been told.
#[derive(Debug, Default)]
pub struct Picture {
    /// Flags by sequence number, where it was told any.
    pub view: Vec<Option<Vec<String>>>,
    /// What cannot be, such as an EXPUNGE of a number that was not there.
    pub faults: Vec<String>,
}

impl Picture {
    /// Takes in an untagged response.
    pub fn take(&mut self, response: &str) {
        let Some((number, what)) = response
            .strip_prefix("* ")
            .and_then(|rest| rest.split_once(' '))
            .and_then(|(number, what)| Some((number.parse::<usize>().ok()?, what)))
        else {
            return;
        };
        if what == "EXISTS" {
            // RFC 3501 §7.3.1: it never says that messages have gone.
            if number < self.view.len() {
                self.faults.push(format!("{response} with {}", self.view.len()));
            }
            self.view.resize(number, None);
            return;
        }
        let flags = what.starts_with("FETCH ").then(|| answers::flags(what));
        if flags.is_none() && what != "EXPUNGE" {
            return;
        }
        if number == 0 || number > self.view.len() {
            self.faults.push(format!("{response} with {}", self.view.len()));
        } else if let Some(flags) = flags {
            if flags.is_some() {
                self.view[number - 1] = flags;
            }
        } else {
            self.view.remove(number - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_follows_what_is_told_and_sees_what_cannot_be() {
        let mut picture = Picture::default();
        for line in [
            "* 3 EXISTS",
            "* 2 FETCH (FLAGS (\\Seen))",
            "* 1 EXPUNGE",
            "* 0 RECENT",
        ] {
            picture.take(line);
        }
        assert_eq!(picture.view, [Some(vec!["\\Seen".to_owned()]), None]);
        assert!(picture.faults.is_empty());
        for line in ["* 3 EXPUNGE", "* 1 EXISTS"] {
            picture.take(line);
        }
        assert_eq!(picture.faults.len(), 2);
    }
}
