//! PLAIN and LOGIN: dialogues, refusals, and that no secret is shown.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

fn encode(text: &[u8]) -> Vec<u8> {
    STANDARD.encode(text).into_bytes()
}

fn plain(message: &[u8]) -> Result<Credentials, SaslError> {
    match Exchange::start(Mechanism::Plain, Some(&encode(message)))?.1 {
        Step::Finished(credentials) => Ok(credentials),
        Step::Challenge(_) => panic!("PLAIN asks nothing after its response"),
    }
}

#[test]
fn plain_with_and_without_initial_response() {
    let expected = Credentials::new("user1@example.test", "secret").expect("credentials");
    assert_eq!(plain(b"\0user1@example.test\0secret"), Ok(expected.clone()));
    assert_eq!(
        plain(b"USER1@example.test\0user1@example.test\0secret"),
        Ok(expected.clone())
    );
    let (mut exchange, step) = Exchange::start(Mechanism::Plain, None).expect("start");
    assert_eq!(step, Step::Challenge(""));
    assert_eq!(
        exchange.respond(&encode(b"\0user1@example.test\0secret")),
        Ok(Step::Finished(expected))
    );
}

#[test]
fn plain_refuses() {
    for (message, error) in [
        (&b""[..], SaslError::Malformed),
        (b"user\0secret", SaslError::Malformed),
        (b"\0user\0sec\0ret", SaslError::Malformed),
        (b"\0\0secret", SaslError::Malformed),
        (b"\0user\0", SaslError::Malformed),
        (b"\0us\xffer\0secret", SaslError::Malformed),
        (b"boss\0user\0secret", SaslError::OtherIdentity),
    ] {
        assert_eq!(plain(message), Err(error), "{message:?}");
    }
    let long = [b"\0user\0".as_slice(), &[b'x'; PASSWORD_OCTETS_MAX + 1]].concat();
    assert_eq!(plain(&long), Err(SaslError::TooLong));
}

#[test]
fn login_dialogues() {
    let expected = Step::Finished(Credentials::new("user", "secret").expect("credentials"));
    let (mut exchange, step) = Exchange::start(Mechanism::Login, None).expect("start");
    assert_eq!(step, Step::Challenge("VXNlcm5hbWU6"));
    assert_eq!(exchange.respond(b"dXNlcg=="), Ok(Step::Challenge("UGFzc3dvcmQ6")));
    assert_eq!(exchange.respond(b"c2VjcmV0"), Ok(expected.clone()));
    // Some clients send the name with the command.
    let (mut exchange, step) = Exchange::start(Mechanism::Login, Some(b"dXNlcg==")).expect("start");
    assert_eq!(step, Step::Challenge("UGFzc3dvcmQ6"));
    assert_eq!(exchange.respond(b"c2VjcmV0"), Ok(expected));
}

#[test]
fn cancelled_and_malformed() {
    let (mut exchange, _) = Exchange::start(Mechanism::Login, None).expect("start");
    assert_eq!(exchange.respond(b"*"), Err(SaslError::Cancelled));
    for bad in [
        &b"dXNlcg"[..],
        b"dXNl cg==",
        b"!",
        b"dXNlcg==\r",
        b"\0",
        b"=",
        b"dXNlcg===",
    ] {
        let (mut exchange, _) = Exchange::start(Mechanism::Login, None).expect("start");
        assert_eq!(exchange.respond(bad), Err(SaslError::Base64), "{bad:?}");
    }
    let (mut exchange, _) = Exchange::start(Mechanism::Login, None).expect("start");
    assert_eq!(exchange.respond(&[b'A'; 5_000]), Err(SaslError::TooLong));
    assert_eq!(
        Exchange::start(Mechanism::Plain, Some(b"=")).map(|_| ()),
        Err(SaslError::Malformed)
    );
    assert_eq!(
        Exchange::start(Mechanism::Login, Some(b"=")).map(|_| ()),
        Err(SaslError::Malformed)
    );
    let (mut exchange, _) = Exchange::start(Mechanism::Login, Some(b"dXNlcg==")).expect("start");
    assert_eq!(exchange.respond(b""), Err(SaslError::Malformed));
}

#[test]
fn names_of_mechanisms() {
    assert_eq!(Mechanism::from_name("plain"), Some(Mechanism::Plain));
    assert_eq!(Mechanism::from_name("LOGIN"), Some(Mechanism::Login));
    assert_eq!(Mechanism::from_name("CRAM-MD5"), None);
    assert_eq!(Mechanism::from_name(""), None);
}

#[test]
fn no_secret_is_shown() {
    let credentials = Credentials::new("user", "hunter2").expect("credentials");
    let (mut exchange, _) = Exchange::start(Mechanism::Login, Some(b"dXNlcg==")).expect("start");
    let before = format!("{exchange:?}");
    let step = exchange.respond(&encode(b"hunter2")).expect("finished");
    for shown in [
        format!("{credentials:?}"),
        format!("{credentials:#?}"),
        before,
        format!("{step:?}"),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

proptest! {
    #[test]
    fn never_panics(line in proptest::collection::vec(any::<u8>(), 0..64)) {
        for mechanism in Mechanism::ALL {
            let _ = Exchange::start(mechanism, Some(&line));
            let _ = Exchange::start(mechanism, Some(&encode(&line)));
        }
    }
}
