//! The header of the PROXY protocol, versions 1 and 2: whom a load balancer speaks for.
//!
//! Source: "The PROXY protocol, Versions 1 & 2" (haproxy, doc/proxy-protocol.txt, 2020/03/05), cited here by section. Reads
//! exactly the header's bytes, so that what follows, a TLS handshake for one, is untouched. Never decides who may send one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::TcpStream;

/// §2.1: a line of version 1, CRLF included, is no longer.
const LINE_BYTES_MAX: usize = 107;

/// How version 1 begins (§2.1).
const LINE_BEGINNING: &[u8] = b"PROXY ";

/// How version 2 begins (§2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What may follow the first 16 bytes of version 2: addresses and additions, of which a sender should send fewer than fit
/// a TCP segment (§2.2).
const BODY_BYTES_MAX: u16 = 4096;

/// Whom a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The client that the header names.
    Named(SocketAddr),
    /// The header names nobody (`LOCAL`, `UNKNOWN`, or a family that is not of the internet): who connected.
    Own,
}

/// Why a connection has no header that can be used.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// It was closed before its first byte, as health checks do.
    #[error("it was closed without a byte")]
    Absent,
    /// It was closed, or broke, within the header.
    #[error("it ended within the header")]
    Cut(#[source] io::Error),
    /// It begins with something else.
    #[error("it does not begin with a PROXY header")]
    Other,
    /// The header is longer than one may be.
    #[error("its PROXY header is too long")]
    Long,
    /// The header is not as the protocol has it.
    #[error("its PROXY header is wrong: {0}")]
    Wrong(&'static str),
}

impl HeaderError {
    /// A word for it, of which there are few.
    pub fn reason(&self) -> &'static str {
        match self {
            HeaderError::Absent => "absent",
            HeaderError::Cut(_) => "cut",
            HeaderError::Other => "other",
            HeaderError::Long => "long",
            HeaderError::Wrong(_) => "wrong",
        }
    }
}

/// Reads a header, and not a byte more. Costs a few hundred bytes, and at most [`LINE_BYTES_MAX`] or
/// `16 + BODY_BYTES_MAX` read; takes as long as the sender does.
pub async fn read(stream: &mut TcpStream) -> Result<Origin, HeaderError> {
    // As many bytes as tell the versions apart, and fewer than any header has.
    let mut beginning = [0; SIGNATURE.len()];
    let mut held = 0;
    while held < beginning.len() {
        match stream.read(&mut beginning[held..]).await {
            Ok(0) if held == 0 => return Err(HeaderError::Absent),
            Ok(0) => return Err(HeaderError::Cut(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => held += read,
            Err(error) => return Err(HeaderError::Cut(error)),
        }
        // At the first byte that no header has there (§2.1: as soon as possible).
        if !may_become_header(&beginning[..held]) {
            return Err(HeaderError::Other);
        }
    }
    if &beginning == SIGNATURE {
        read_version_2(stream).await
    } else {
        read_version_1(stream, &beginning).await
    }
}

fn may_become_header(held: &[u8]) -> bool {
    let both = held.len().min(LINE_BEGINNING.len());
    held[..both] == LINE_BEGINNING[..both] || SIGNATURE.starts_with(held)
}

async fn read_version_1(stream: &mut TcpStream, beginning: &[u8]) -> Result<Origin, HeaderError> {
    let mut line = [0; LINE_BYTES_MAX];
    line[..beginning.len()].copy_from_slice(beginning);
    let mut held = beginning.len();
    if beginning.contains(&b'\n') {
        return Err(HeaderError::Wrong("the line ends too early"));
    }
    loop {
        if held == line.len() {
            return Err(HeaderError::Long);
        }
        // What is there is looked at, and taken only as far as the line goes.
        let seen = stream.peek(&mut line[held..]).await.map_err(HeaderError::Cut)?;
        if seen == 0 {
            return Err(HeaderError::Cut(io::ErrorKind::UnexpectedEof.into()));
        }
        let end = line[held..held + seen].iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(seen, |end| end + 1);
        stream
            .read_exact(&mut line[held..held + taken])
            .await
            .map_err(HeaderError::Cut)?;
        held += taken;
        if end.is_some() {
            return parse_line(&line[..held]);
        }
    }
}

/// A whole line of version 1 (§2.1).
fn parse_line(line: &[u8]) -> Result<Origin, HeaderError> {
    use HeaderError::Wrong;
    let line = line.strip_suffix(b"\r\n").ok_or(Wrong("no CRLF at its end"))?;
    let rest = line.strip_prefix(LINE_BEGINNING).ok_or(HeaderError::Other)?;
    if rest == b"UNKNOWN" || rest.starts_with(b"UNKNOWN ") {
        return Ok(Origin::Own);
    }
    let rest = std::str::from_utf8(rest).map_err(|_| Wrong("not ASCII"))?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = fields[..] else {
        return Err(Wrong("not two addresses and two ports"));
    };
    // The destination is not used, and checked all the same: a line with a wrong one is not what the sender meant.
    let (source, _) = match family {
        "TCP4" => (address::<Ipv4Addr>(source)?, address::<Ipv4Addr>(destination)?),
        "TCP6" => (address::<Ipv6Addr>(source)?, address::<Ipv6Addr>(destination)?),
        _ => return Err(Wrong("neither TCP4, TCP6 nor UNKNOWN")),
    };
    let (port, _) = (port(source_port)?, port(destination_port)?);
    Ok(named(source, port))
}

fn address<A: std::str::FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, HeaderError> {
    let address: A = text
        .parse()
        .map_err(|_| HeaderError::Wrong("not an address of its family"))?;
    Ok(address.into())
}

/// §2.1: decimal, without heading zeroes.
fn port(text: &str) -> Result<u16, HeaderError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse()
        .ok()
        .filter(|_| plain)
        .ok_or(HeaderError::Wrong("not a port"))
}

async fn read_version_2(stream: &mut TcpStream) -> Result<Origin, HeaderError> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.map_err(HeaderError::Cut)?;
    let [version_and_command, family, high, low] = head;
    let addresses = Addresses::of(version_and_command, family)?;
    let length = u16::from_be_bytes([high, low]);
    if length > BODY_BYTES_MAX {
        return Err(HeaderError::Long);
    }
    let wanted = addresses.length();
    let Some(additions) = usize::from(length).checked_sub(wanted) else {
        return Err(HeaderError::Wrong("shorter than its addresses"));
    };
    let mut held = [0; Addresses::LENGTH_MAX];
    stream
        .read_exact(&mut held[..wanted])
        .await
        .map_err(HeaderError::Cut)?;
    skip(stream, additions).await?;
    Ok(addresses.origin(&held))
}

/// Reads over what a header has behind the addresses (§2.2: additions may be skipped, a checksum among them).
async fn skip(stream: &mut TcpStream, bytes: usize) -> Result<(), HeaderError> {
    let mut left = BufReader::with_capacity(256, stream.take(bytes as u64));
    let read = tokio::io::copy_buf(&mut left, &mut tokio::io::sink())
        .await
        .map_err(HeaderError::Cut)?;
    if read < bytes as u64 {
        return Err(HeaderError::Cut(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}

/// Which addresses a header of version 2 has that are of use here.
#[derive(Clone, Copy)]
enum Addresses {
    None,
    V4,
    V6,
}

impl Addresses {
    /// Two IPv6 addresses and two ports.
    const LENGTH_MAX: usize = 36;

    /// By the 13th and 14th byte (§2.2).
    fn of(version_and_command: u8, family: u8) -> Result<Self, HeaderError> {
        use HeaderError::Wrong;
        match version_and_command {
            // LOCAL: whatever the family is.
            0x20 => return Ok(Addresses::None),
            // PROXY
            0x21 => {}
            0x22..=0x2f => return Err(Wrong("its command is neither LOCAL nor PROXY")),
            _ => return Err(Wrong("its version is not 2")),
        }
        match family {
            0x11 => Ok(Addresses::V4),
            0x21 => Ok(Addresses::V6),
            // UNSPEC; and datagrams and sockets of UNIX, which a receiver that does not support them takes for UNSPEC.
            0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Ok(Addresses::None),
            _ => Err(Wrong("its family or protocol is not assigned")),
        }
    }

    /// Bytes that the addresses and ports take. Of those that are of no use: none, they are skipped.
    fn length(self) -> usize {
        match self {
            Addresses::None => 0,
            Addresses::V4 => 12,
            Addresses::V6 => Self::LENGTH_MAX,
        }
    }

    /// Source address, destination address, source port, destination port: the sources.
    fn origin(self, held: &[u8; Self::LENGTH_MAX]) -> Origin {
        match self {
            Addresses::None => Origin::Own,
            Addresses::V4 => {
                let [a, b, c, d, ..] = *held;
                named(
                    Ipv4Addr::new(a, b, c, d).into(),
                    u16::from_be_bytes([held[8], held[9]]),
                )
            }
            Addresses::V6 => {
                let mut octets = [0; 16];
                octets.copy_from_slice(&held[..16]);
                named(
                    Ipv6Addr::from(octets).into(),
                    u16::from_be_bytes([held[32], held[33]]),
                )
            }
        }
    }
}

/// An IPv4 client is counted as one, however its address is written.
fn named(address: IpAddr, port: u16) -> Origin {
    Origin::Named(SocketAddr::new(address.to_canonical(), port))
}

#[cfg(test)]
mod tests;
