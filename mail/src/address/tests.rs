//! Addresses: tables of good, bad and odd ones, and what always holds.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn utf8(text: &str) -> Address {
    Address::parse(text, Rules::UTF8).expect(text)
}

#[test]
fn takes_and_writes_again() {
    for (input, output) in [
        ("user@example.test", "user@example.test"),
        ("User@EXAMPLE.Test", "User@example.test"),
        ("a.b+c@x", "a.b+c@x"),
        ("!#$%&'*+-/=?^_`{|}~@x.y", "!#$%&'*+-/=?^_`{|}~@x.y"),
        ("\"a b\"@x", "\"a b\"@x"),
        ("\"ab\"@x", "ab@x"),
        ("\"a\\\"b\\\\c\"@x", "\"a\\\"b\\\\c\"@x"),
        ("\"a@b\"@x", "\"a@b\"@x"),
        ("\"\"@x", "\"\"@x"),
        ("\"a..b\"@x", "\"a..b\"@x"),
        ("user@[127.0.0.1]", "user@[127.0.0.1]"),
        ("user@[ipv6:2001:DB8::1]", "user@[IPv6:2001:db8::1]"),
        ("user@xn--bcher-kva.test", "user@xn--bcher-kva.test"),
        ("user@a_b.test", "user@a_b.test"),
        ("münchen@bücher.test", "münchen@bücher.test"),
        ("用户@例え.test", "用户@例え.test"),
    ] {
        assert_eq!(utf8(input).to_string(), output, "{input}");
    }
}

#[test]
fn refuses() {
    use AddressError::{Domain, Local, NoDomain, TooLong};
    let long_local = format!("{}@x", "a".repeat(65));
    let long_label = format!("a@{}.test", "b".repeat(64));
    let long_address = format!("{}@{}", "a".repeat(64), vec!["b".repeat(60); 4].join("."));
    for (input, error) in [
        ("", NoDomain),
        ("user", NoDomain),
        ("user@", NoDomain),
        ("@x", Local),
        (".a@x", Local),
        ("a.@x", Local),
        ("a..b@x", Local),
        ("a b@x", Local),
        ("a\"b@x", Local),
        ("a\0b@x", Local),
        ("a\u{85}b@x", Local),
        ("\"a\r\nb\"@x", Local),
        ("\"a@x", Local),
        ("\"a\\", Local),
        ("\"a\"b@x", NoDomain),
        ("a@b@c", Domain),
        ("a@-b.c", Domain),
        ("a@b-.c", Domain),
        ("a@b..c", Domain),
        ("a@b.", Domain),
        ("a@.b", Domain),
        ("a@b c", Domain),
        ("a@b>", Domain),
        ("a@b\u{3002}c", Domain),
        ("a@[127.0.0.1", Domain),
        ("a@[127.0.0.256]", Domain),
        ("a@[::1]", Domain),
        ("a@[IPv6:127.0.0.1]", Domain),
        ("a@[x:y]", Domain),
        (&long_local, TooLong),
        (&long_label, TooLong),
        (&long_address, TooLong),
    ] {
        assert_eq!(
            Address::parse(input, Rules::UTF8).expect_err(input),
            error,
            "{input:?}"
        );
    }
}

#[test]
fn utf8_only_where_allowed() {
    for input in ["ü@x", "u@ü.test", "\"ü\"@x"] {
        assert_eq!(
            Address::parse(input, Rules::ASCII).expect_err(input),
            AddressError::NotAscii
        );
        assert!(!utf8(input).is_ascii());
    }
    assert!(utf8("a@[127.0.0.1]").is_ascii());
}

#[test]
fn senders_may_have_long_local_parts() {
    let verp = format!("bounce-{}@lists.test", "x".repeat(120));
    assert!(Address::parse(&verp, Rules::UTF8).is_err());
    assert!(Address::parse(&verp, Rules::SENDER).is_ok());
    assert!(Address::parse(&format!("{}@x", "x".repeat(260)), Rules::SENDER).is_err());
}

#[test]
fn compares_without_case_quotes_or_composition() {
    for (one, other) in [
        ("User@Example.test", "user@example.test"),
        ("\"user\"@x", "USER@x"),
        ("ü@x", "u\u{308}@x"),
        ("Ü@x", "ü@x"),
        ("\u{130}@x", "i\u{307}@x"),
    ] {
        assert_eq!(utf8(one), utf8(other));
        assert_eq!(utf8(one).lookup_key(), utf8(other).lookup_key());
        assert_eq!(HashSet::from([utf8(one), utf8(other)]).len(), 1);
    }
    assert_ne!(utf8("a@x"), utf8("b@x"));
    assert_ne!(utf8("a@x"), utf8("a@y"));
}

#[test]
fn splits_the_detail() {
    let cases: [(&str, &str, Option<&str>); 6] = [
        ("user+lists@x", "user", Some("lists")),
        ("user@x", "user", None),
        ("user+@x", "user", Some("")),
        ("+lists@x", "+lists", None),
        ("user+a+b@x", "user", Some("a+b")),
        ("user-a@x", "user-a", None),
    ];
    for (input, user, detail) in cases {
        assert_eq!(
            utf8(input).subaddress('+'),
            Subaddress { user, detail },
            "{input}"
        );
    }
    assert_eq!(utf8("user-a+b@x").subaddress('-').detail, Some("a+b"));
    assert_eq!(utf8("User+x@Y").without_detail('+').to_string(), "User@y");
}

#[test]
fn new_checks_too() {
    let domain = Domain::parse("x", false).expect("domain");
    assert_eq!(
        Address::new("a b", domain.clone(), Rules::ASCII)
            .expect("ok")
            .to_string(),
        "\"a b\"@x"
    );
    assert!(Address::new("a\r\nb", domain.clone(), Rules::UTF8).is_err());
    assert!(Address::new("ü", domain.clone(), Rules::ASCII).is_err());
    assert!(Address::new(&"a".repeat(65), domain, Rules::ASCII).is_err());
}

proptest! {
    #[test]
    fn never_panics(text in any::<String>()) {
        let _ = Address::parse(&text, Rules::UTF8);
    }

    #[test]
    fn what_is_written_reads_as_the_same(local in "[ -~äöü]{0,20}", domain in "[a-z0-9]{1,9}(\\.[a-z]{1,5}){0,2}") {
        let domain = Domain::parse(&domain, true).expect("domain");
        let address = Address::new(&local, domain, Rules::UTF8).expect("address");
        let again = Address::parse(&address.to_string(), Rules::UTF8).expect("again");
        prop_assert_eq!(again.local(), address.local());
        prop_assert_eq!(again, address);
    }

    #[test]
    fn accepted_text_has_no_control(text in "[\\x00-\\x7f]{0,8}@[\\x00-\\x7f]{0,8}") {
        if let Ok(address) = Address::parse(&text, Rules::ASCII) {
            prop_assert!(!address.to_string().chars().any(char::is_control));
        }
    }
}
