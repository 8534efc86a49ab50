//! Command lines: tables of good, lenient and hostile ones.

use proptest::prelude::*;

use super::*;

fn parse(line: &str) -> Result<Command, CommandError> {
    Command::parse(line.as_bytes())
}

fn shown(line: &str) -> String {
    match parse(line).expect(line) {
        Command::Ehlo(name) => format!("EHLO {}", name.as_str()),
        Command::Helo(name) => format!("HELO {}", name.as_str()),
        Command::Lhlo(name) => format!("LHLO {}", name.as_str()),
        Command::Mail { sender, parameters } => format!("MAIL {sender}{}", list(&parameters)),
        Command::Rcpt {
            recipient,
            parameters,
        } => format!("RCPT {recipient}{}", list(&parameters)),
        other => format!("{other:?}"),
    }
}

fn list(parameters: &[Parameter]) -> String {
    let one = |parameter: &Parameter| match &parameter.value {
        Some(value) => format!(" {}={value}", parameter.keyword),
        None => format!(" {}", parameter.keyword),
    };
    parameters.iter().map(one).collect()
}

#[test]
fn a_verb_is_known_whatever_follows_it() {
    for (line, expected) in [
        ("mail FROM:<", Some("MAIL")),
        ("STARTTLS", Some("STARTTLS")),
        ("STARTTLSX", None),
        ("XYZZY a", None),
        ("", None),
        (" NOOP", None),
    ] {
        assert_eq!(verb(line.as_bytes()), expected, "{line}");
    }
    // Each is a command, and the other way round.
    for known in VERBS {
        assert_ne!(parse(known), Err(CommandError::Unknown), "{known}");
        assert_eq!(verb(known.to_lowercase().as_bytes()), Some(known));
    }
}

#[test]
fn good_and_lenient_lines() {
    for (line, expected) in [
        ("EHLO client.test", "EHLO client.test"),
        ("ehlo [192.0.2.1]", "EHLO [192.0.2.1]"),
        ("HELO my_host  ", "HELO my_host"),
        ("EHLO Somebodys Phone", "EHLO Somebodys"),
        ("lhlo x", "LHLO x"),
        ("MAIL FROM:<>", "MAIL <>"),
        ("MAIL FROM: <a@b>", "MAIL <a@b>"),
        (
            "mail from:<A@B> size=100  body=8BITMIME SMTPUTF8",
            "MAIL <A@b> SIZE=100 BODY=8BITMIME SMTPUTF8",
        ),
        (
            "MAIL FROM:<a@b> AUTH=<> RET=HDRS ENVID=x",
            "MAIL <a@b> AUTH=<> RET=HDRS ENVID=x",
        ),
        ("MAIL  FROM:<ü@b> SMTPUTF8", "MAIL <ü@b> SMTPUTF8"),
        ("RCPT TO:<a@b>", "RCPT <a@b>"),
        ("RCPT TO: <@x:a@b> NOTIFY=NEVER", "RCPT <a@b> NOTIFY=NEVER"),
        ("RCPT TO:<Postmaster>", "RCPT <postmaster>"),
        ("data ", "Data"),
        ("BDAT 0 LAST", "Bdat { octets: 0, last: true }"),
        (
            "bdat 18446744073709551615",
            "Bdat { octets: 18446744073709551615, last: false }",
        ),
        ("bdat 10 last", "Bdat { octets: 10, last: true }"),
        ("RSET", "Rset"),
        ("NOOP whatever", "Noop"),
        ("HELP", "Help"),
        ("HELP MAIL", "Help"),
        ("VRFY user", "Vrfy"),
        ("EXPN list", "Expn"),
        ("QUIT", "Quit"),
        ("StartTls", "StartTls"),
        (
            "AUTH login ",
            "Auth(AuthArguments { mechanism: \"login\", initial_response: None })",
        ),
        (
            "AUTH PLAIN =",
            "Auth(AuthArguments { mechanism: \"PLAIN\", initial_response: Some(\"…\") })",
        ),
    ] {
        assert_eq!(shown(line), expected, "{line}");
    }
}

#[test]
fn initial_responses() {
    for (line, response) in [
        ("AUTH PLAIN", None),
        ("AUTH PLAIN =", Some("=")),
        ("AUTH PLAIN AHUAcA==", Some("AHUAcA==")),
    ] {
        let Ok(Command::Auth(arguments)) = parse(line) else {
            panic!("{line}")
        };
        assert_eq!(arguments.initial_response.as_deref(), response);
    }
    assert!(!format!("{:?}", parse("AUTH PLAIN AHUAcA==")).contains("AHUAcA"));
}

#[test]
fn bad_lines() {
    use CommandError::{Argument, ChunkSize, OtherProtocol, Recipient, Sender, Syntax, Unknown};
    let too_many = format!("MAIL FROM:<a@b>{}", " X=1".repeat(PARAMETERS_MAX + 1));
    for (line, error) in [
        (&b""[..], Syntax),
        (b"  ", Syntax),
        (b" NOOP", Syntax),
        (b"NOOP\r", Syntax),
        (b"NO\0OP", Syntax),
        (b"NOOP \x7f", Syntax),
        (b"NOOP \xff\xfe", Syntax),
        (b"NOOP\tx", Syntax),
        (b"MAIL FROM:<a@b>\rRCPT TO:<c@d>", Syntax),
        (b"WRONG", Unknown),
        (b"NOOPX", Unknown),
        (b"\xc3\xbc", Unknown),
        (b"AVERYLONGVERB x", Unknown),
        (b"GET / HTTP/1.1", OtherProtocol),
        (b"POST / HTTP/1.1", OtherProtocol),
        (b"EHLO", Argument),
        (b"HELO \xc3\xbc", Argument),
        (b"MAIL", Argument),
        (b"MAIL TO:<a@b>", Argument),
        (b"MAIL FROM", Argument),
        (b"MAIL FROM <a@b>", Argument),
        (b"MAIL FROM:", Sender(AddressError::Local)),
        (b"MAIL FROM:a@b", Sender(AddressError::Local)),
        (b"MAIL FROM:<a", Sender(AddressError::Local)),
        (b"MAIL FROM:<a@b>x", CommandError::Parameter),
        (b"MAIL FROM:<a@b> =x", CommandError::Parameter),
        (b"MAIL FROM:<a@b> SIZE=", CommandError::Parameter),
        (b"MAIL FROM:<a@b> A=B=C", CommandError::Parameter),
        (b"MAIL FROM:<a@b> <c@d>", CommandError::Parameter),
        (too_many.as_bytes(), CommandError::Parameter),
        (b"RCPT FROM:<a@b>", Argument),
        (b"RCPT TO:<>", Recipient(AddressError::NoDomain)),
        (b"DATA now", Argument),
        (b"QUIT now", Argument),
        (b"RSET now", Argument),
        (b"STARTTLS now", Argument),
        (b"VRFY", Argument),
        (b"EXPN", Argument),
        (b"AUTH", Argument),
        (b"AUTH ", Argument),
        (b"AUTH PLAIN a b", Argument),
        (b"BDAT", ChunkSize),
        (b"BDAT x", ChunkSize),
        (b"BDAT -1", ChunkSize),
        (b"BDAT +1", ChunkSize),
        (b"BDAT 18446744073709551616", ChunkSize),
        (b"BDAT 1 FIRST", ChunkSize),
        (b"BDAT 1 LAST x", ChunkSize),
        (b"BDAT 100 \xff", ChunkSize),
        (b"bdat\t100", ChunkSize),
        (b"BDAT 100\t", ChunkSize),
        (b"BDAT 100\r", ChunkSize),
        (b"BDATA \xff", Syntax),
    ] {
        assert_eq!(
            Command::parse(line),
            Err(error),
            "{:?}",
            String::from_utf8_lossy(line)
        );
    }
}

proptest! {
    #[test]
    fn never_panics(line in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = Command::parse(&line);
    }

    #[test]
    fn never_panics_on_what_looks_like_a_command(
        verb in "(MAIL FROM:|RCPT TO:|BDAT |AUTH |EHLO )",
        rest in "[<>@\"\\\\:,\\[\\]a-bü =0-9]{0,30}",
    ) {
        let _ = Command::parse(format!("{verb}{rest}").as_bytes());
    }
}
