//! Headers as real bytes over real sockets: good ones, wrong ones, cut ones, damaged ones.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;

/// What follows a header, and must be there afterwards.
const BEHIND: &[u8] = b"\r\nEHLO client.test\r\n";

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// Reads the header of a connection on which these bytes are sent, which is then closed: what it is, and what is left.
async fn sent(pieces: &[&[u8]]) -> (Result<Origin, HeaderError>, Vec<u8>) {
    let (mut client, mut server) = pair().await;
    client.set_nodelay(true).unwrap();
    for piece in pieces {
        client.write_all(piece).await.unwrap();
    }
    client.shutdown().await.unwrap();
    let result = read(&mut server).await;
    let mut left = Vec::new();
    server.read_to_end(&mut left).await.unwrap();
    (result, left)
}

/// A header of version 2.
fn version_2(version_and_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[version_and_command, family], &length, body].concat()
}

fn v4_body() -> Vec<u8> {
    vec![203, 0, 113, 7, 192, 0, 2, 1, 0xdb, 0xfc, 0x03, 0xe1]
}

fn v6_body(source: &str) -> Vec<u8> {
    let source: Ipv6Addr = source.parse().unwrap();
    let destination: Ipv6Addr = "2001:db8::1".parse().unwrap();
    [
        &source.octets()[..],
        &destination.octets(),
        &[0xdb, 0xfc, 0x03, 0xe1],
    ]
    .concat()
}

fn good() -> Vec<(Vec<u8>, Origin)> {
    let named = |text: &str| Origin::Named(text.parse().unwrap());
    let line = |text: &str| text.as_bytes().to_vec();
    let additions = [0x04, 0x0f, 0x00].iter().copied().chain([0; 0xf00]);
    let longest = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                   65535 65535\r\n";
    assert_eq!(longest.len(), LINE_BYTES_MAX);
    vec![
        (
            line("PROXY TCP4 203.0.113.7 192.0.2.1 56316 993\r\n"),
            named("203.0.113.7:56316"),
        ),
        (
            line("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
            named("255.255.255.255:65535"),
        ),
        (
            line("PROXY TCP6 2001:DB8::7 ::1 0 25\r\n"),
            named("[2001:db8::7]:0"),
        ),
        (
            line("PROXY TCP6 ::ffff:203.0.113.7 ::1 1 25\r\n"),
            named("203.0.113.7:1"),
        ),
        (line("PROXY UNKNOWN\r\n"), Origin::Own),
        (line(longest), Origin::Own),
        (version_2(0x21, 0x11, &v4_body()), named("203.0.113.7:56316")),
        (
            version_2(
                0x21,
                0x11,
                &v4_body().into_iter().chain(additions).collect::<Vec<_>>(),
            ),
            named("203.0.113.7:56316"),
        ),
        (
            version_2(0x21, 0x21, &v6_body("2001:db8::7")),
            named("[2001:db8::7]:56316"),
        ),
        (
            version_2(0x21, 0x21, &v6_body("::ffff:203.0.113.7")),
            named("203.0.113.7:56316"),
        ),
        // LOCAL, without and with a family and addresses.
        (version_2(0x20, 0x00, &[]), Origin::Own),
        (version_2(0x20, 0x11, &[]), Origin::Own),
        (version_2(0x20, 0x11, &v4_body()), Origin::Own),
        (version_2(0x20, 0xff, &[]), Origin::Own),
        // Of no use here: unspecified, datagrams, sockets of UNIX.
        (version_2(0x21, 0x00, &[]), Origin::Own),
        (version_2(0x21, 0x12, &v4_body()), Origin::Own),
        (version_2(0x21, 0x31, &[0; 216]), Origin::Own),
        (
            version_2(0x20, 0x00, &vec![0; usize::from(BODY_BYTES_MAX)]),
            Origin::Own,
        ),
    ]
}

#[tokio::test]
async fn a_header_is_read_and_not_a_byte_more() {
    for (header, origin) in good() {
        let (result, left) = sent(&[&header, BEHIND]).await;
        assert_eq!(result.unwrap(), origin, "{header:02x?}");
        assert_eq!(left, BEHIND, "{header:02x?}");
    }
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte() {
    for (header, origin) in good().into_iter().filter(|(header, _)| header.len() < 300) {
        let (mut client, mut server) = pair().await;
        client.set_nodelay(true).unwrap();
        let reading = tokio::spawn(async move { (read(&mut server).await, server) });
        for byte in &header {
            client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        client.write_all(BEHIND).await.unwrap();
        client.shutdown().await.unwrap();
        let (result, mut server) = reading.await.unwrap();
        assert_eq!(result.unwrap(), origin, "{header:02x?}");
        let mut left = Vec::new();
        server.read_to_end(&mut left).await.unwrap();
        assert_eq!(left, BEHIND);
    }
}

#[tokio::test]
async fn wrong_headers_are_told_apart() {
    let long_line = format!("PROXY TCP4 203.0.113.7 192.0.2.1 1 2{}\r\n", " ".repeat(107));
    let long_unknown = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    assert_eq!(long_unknown.len(), LINE_BYTES_MAX + 1);
    let too_long = version_2(0x21, 0x11, &vec![0; usize::from(BODY_BYTES_MAX) + 1]);
    let table: Vec<(&[u8], &str)> = vec![
        (b"", "absent"),
        (b"EHLO client.test\r\n", "other"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "other"),
        (b"a LOGIN user secret\r\n", "other"),
        (b"\r\n", "cut"),
        (b"\r\n\r\n\r\n", "other"),
        (b"\0\0\0\0", "other"),
        (b"P", "cut"),
        (b"PROXY", "cut"),
        (b"PROXYTCP4 203.0.113.7 192.0.2.1 1 2\r\n", "other"),
        (b"proxy TCP4 203.0.113.7 192.0.2.1 1 2\r\n", "other"),
        (b"PROXY  TCP4 203.0.113.7 192.0.2.1 1 2\r\n", "wrong"),
        (b"PROXY\tTCP4 203.0.113.7 192.0.2.1 1 2\r\n", "other"),
        (b"PROXY TCP4  203.0.113.7 192.0.2.1 1 2\r\n", "wrong"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2 \r\n", "wrong"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 1\r\n", "wrong"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2 3\r\n", "wrong"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2\n", "wrong"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r\r\n", "wrong"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2\r", "cut"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2", "cut"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 2\r\n", "wrong"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 01 2\r\n", "wrong"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 +1 2\r\n", "wrong"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 1 -2\r\n", "wrong"),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1  2\r\n", "wrong"),
        (b"PROXY TCP4 203.0.113.07 192.0.2.1 1 2\r\n", "wrong"),
        (b"PROXY TCP4 203.0.113 192.0.2.1 1 2\r\n", "wrong"),
        (b"PROXY TCP4 203.0.113.256 192.0.2.1 1 2\r\n", "wrong"),
        (b"PROXY TCP4 203.0.113.7 2001:db8::1 1 2\r\n", "wrong"),
        (b"PROXY TCP6 203.0.113.7 192.0.2.1 1 2\r\n", "wrong"),
        (b"PROXY TCP6 2001:db8:::7 ::1 1 2\r\n", "wrong"),
        (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "wrong"),
        (b"PROXY TCP5 203.0.113.7 192.0.2.1 1 2\r\n", "wrong"),
        (b"PROXY UDP4 203.0.113.7 192.0.2.1 1 2\r\n", "wrong"),
        (b"PROXY tcp4 203.0.113.7 192.0.2.1 1 2\r\n", "wrong"),
        (b"PROXY UNKNOWNS\r\n", "wrong"),
        (b"PROXY unknown\r\n", "wrong"),
        (b"PROXY \r\n......", "wrong"),
        (b"PROXY mail.example.test\r\n", "wrong"),
        (b"PROXY \xff\xfe\xfd\xfc\xfb\xfa\xf9\r\n", "wrong"),
        (long_line.as_bytes(), "long"),
        (long_unknown.as_bytes(), "long"),
        (b"\r\n\r\n\0\r\nQUIT\r", "other"),
        (b"\r\n\r\n\0\r\nQUIT\n", "cut"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00", "cut"),
        (b"\r\n\r\n\0\r\nQUIT\n\x11\x11\x00\x0c", "wrong"),
        (b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x0c", "wrong"),
        (b"\r\n\r\n\0\r\nQUIT\n\x22\x11\x00\x0c", "wrong"),
        (b"\r\n\r\n\0\r\nQUIT\n\x2f\x00\x00\x00", "wrong"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x10\x00\x0c", "wrong"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x13\x00\x0c", "wrong"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x41\x00\x0c", "wrong"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0b...........", "wrong"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x0c............", "wrong"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c...........", "cut"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0d............", "cut"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", "long"),
        (&too_long, "long"),
    ];
    for (bytes, reason) in table {
        let error = sent(&[bytes]).await.0.unwrap_err();
        assert_eq!(
            error.reason(),
            reason,
            "{:?}: {error}",
            String::from_utf8_lossy(bytes)
        );
    }
}

#[tokio::test]
async fn a_header_that_is_cut_anywhere_is_cut() {
    for (header, _) in good().into_iter().filter(|(header, _)| header.len() < 300) {
        for length in 1..header.len() {
            let error = sent(&[&header[..length]]).await.0.unwrap_err();
            assert_eq!(error.reason(), "cut", "{length} of {header:02x?}");
        }
    }
}

/// Whatever is flipped, a header is read or refused, and one that is read was read whole.
#[tokio::test]
async fn damaged_headers_are_read_or_refused() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    let mut random = StdRng::seed_from_u64(20_200_305);
    let headers: Vec<Vec<u8>> = good().into_iter().map(|(header, _)| header).collect();
    let mut refused = 0;
    for _ in 0..2_000 {
        let mut header = headers[random.random_range(0..headers.len())].clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..header.len().min(60));
            header[at] = random.random();
        }
        let (result, left) = sent(&[&header, BEHIND]).await;
        match result {
            Ok(_) => {
                let whole = [&header[..], BEHIND].concat();
                assert!(whole.ends_with(&left), "{header:02x?}");
                assert!(whole.len() - left.len() <= 16 + usize::from(BODY_BYTES_MAX));
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 500, "{refused}");
}
