//! What holds for any input at all: shared by the fuzz targets and by the replay of their corpora.

use rookery_mail::smtp::command::Command;
use rookery_mail::smtp::data::DataDecoder;
use rookery_mail::smtp::hops::HopCounter;
use rookery_mail::smtp::line::{LINE_OCTETS_MAX, Line, LineReader};
use rookery_mail::smtp::session::{Kind, SessionConfig};

#[path = "smtp_server.rs"]
mod smtp_server;

use smtp_server::Server;

/// Takes the input as what a client sends: every line is parsed, and three sessions live through it.
pub(crate) fn command(input: &[u8]) {
    let mut reader = LineReader::new();
    let mut rest = input;
    while let Some(line) = reader.next_line(&mut rest) {
        if let Line::Complete(line) = line {
            assert!(line.len() < LINE_OCTETS_MAX);
            if let Ok(command) = Command::parse(line) {
                written_again(&command);
            }
        }
    }
    for kind in [Kind::Smtp, Kind::Submission, Kind::Lmtp] {
        let config = SessionConfig {
            starttls: true,
            plaintext_auth: true,
            ..SessionConfig::new(kind, "mx.test", 1_000)
        };
        let mut server = Server::new(config);
        for piece in input.chunks(7) {
            server.take(piece);
        }
        well_formed(&server.output);
        for stored in &server.stored {
            assert!(stored.content.len() <= 1_000);
        }
    }
}

/// Takes the input as what follows DATA: pieces do not matter, and no false end ends it.
pub(crate) fn data(input: &[u8]) {
    let piece_octets = input.first().map_or(1, |&first| usize::from(first) % 9 + 1);
    let (whole, whole_rest, whole_decoder) = decode(input, input.len().max(1));
    let (content, rest, decoder) = decode(input, piece_octets);
    assert_eq!(whole, content);
    assert_eq!(whole_rest, rest);
    assert_eq!(whole_decoder.fault(), decoder.fault());
    assert_eq!(decoder.octets(), content.len() as u64);
    let framed = [b"\r\n", input].concat();
    let end = framed.windows(5).position(|window| window == b"\r\n.\r\n");
    assert_eq!(rest, end.map(|end| framed[end + 5..].to_vec()));
    let (mut one, mut many) = (HopCounter::new(), HopCounter::new());
    one.take(&content);
    content.chunks(piece_octets).for_each(|piece| many.take(piece));
    assert_eq!(one.hops(), many.hops());
}

/// The content, and what is left behind its end if there was one.
fn decode(input: &[u8], piece_octets: usize) -> (Vec<u8>, Option<Vec<u8>>, DataDecoder) {
    let mut decoder = DataDecoder::new();
    let mut content = Vec::new();
    let mut taken = 0;
    for piece in input.chunks(piece_octets) {
        let decoded = decoder.decode(piece, |slice| content.extend_from_slice(slice));
        taken += decoded.consumed;
        if decoded.finished {
            return (content, Some(input[taken..].to_vec()), decoder);
        }
        assert_eq!(decoded.consumed, piece.len());
    }
    (content, None, decoder)
}

/// A path that was read and written again is the same path.
fn written_again(command: &Command) {
    let line = match command {
        Command::Mail { sender, .. } => format!("MAIL FROM:{sender}"),
        Command::Rcpt { recipient, .. } => format!("RCPT TO:{recipient}"),
        _ => return,
    };
    // Writing a quoted string anew may make it longer than a path may be.
    if line.len() > 256 {
        return;
    }
    match (command, Command::parse(line.as_bytes())) {
        (Command::Mail { sender, .. }, Ok(Command::Mail { sender: again, .. })) => assert_eq!(*sender, again),
        (Command::Rcpt { recipient, .. }, Ok(Command::Rcpt { recipient: again, .. })) => {
            assert_eq!(*recipient, again);
        }
        (_, again) => panic!("{line:?} was read as {again:?}"),
    }
}

/// Every line of output is a reply line of printable ASCII.
fn well_formed(output: &[u8]) {
    let output = std::str::from_utf8(output).expect("replies are ASCII");
    assert!(output.ends_with("\r\n"));
    for line in output.trim_end_matches("\r\n").split("\r\n") {
        assert!(line.len() >= 4 && line.len() <= 510, "{line:?}");
        assert!(line.bytes().take(3).all(|byte| byte.is_ascii_digit()), "{line:?}");
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
    }
}
