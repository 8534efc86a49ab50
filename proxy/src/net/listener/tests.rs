//! Listeners that some networks must send headers to: whom the protocol is told, and what it costs to send none.

use rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use super::*;

/// Its connections begin with a header.
const BALANCER: &str = "127.0.0.2";

/// Its connections do not.
const ELSEWHERE: &str = "127.0.0.3";

/// A listener that tells each client its address in a line, and then gives back what the client says.
struct World {
    address: SocketAddr,
    limits: Arc<ConnectionLimits>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl World {
    fn start(total_max: usize, per_address_max: usize, tls: Option<TlsAcceptor>) -> Self {
        let limits = ConnectionLimits::new(total_max, per_address_max);
        let networks = Arc::from([BALANCER.parse().unwrap()]);
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), tls, Arc::clone(&limits))
            .unwrap()
            .with_headers_from(networks);
        let world = Self {
            address: listener.local(),
            limits,
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        tokio::spawn(listener.run(world.tasks.clone(), world.cancel.clone(), echo));
        world
    }

    async fn connect(&self, from: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Connects, says something, and gives all that is answered until the connection is closed.
    async fn say(&self, from: &str, words: &[u8]) -> String {
        let mut stream = self.connect(from).await;
        stream.write_all(words).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // A connection that is closed with words unread is reset.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

async fn echo(accepted: Accepted) {
    let greeting = format!("{}\n", accepted.client.ip());
    let mut stream: Box<dyn Duplex> = match accepted.wire {
        Wire::Plain(stream) => Box::new(stream),
        Wire::Tls(stream) => stream,
    };
    let _slot = accepted.slot;
    let mut words = Vec::new();
    if stream.write_all(greeting.as_bytes()).await.is_ok() && stream.read_to_end(&mut words).await.is_ok() {
        // The client may have gone.
        let _ = stream.write_all(&words).await;
        let _ = stream.shutdown().await;
    }
}

trait Duplex: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send {}
impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send> Duplex for S {}

const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 56316 993\r\nhello";

const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x09\xc0\x00\x02\x01\x10\x00\x03\xe1hello";

const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00hello";

#[tokio::test]
async fn the_client_is_whom_a_balancer_names() {
    let world = World::start(10, 10, None);
    assert_eq!(world.say(BALANCER, LINE).await, "203.0.113.7\nhello");
    assert_eq!(world.say(BALANCER, BINARY).await, "198.51.100.9\nhello");
    assert_eq!(world.say(BALANCER, LOCAL).await, "127.0.0.2\nhello");
    assert_eq!(
        world.say(BALANCER, b"PROXY UNKNOWN\r\nhello").await,
        "127.0.0.2\nhello"
    );
}

#[tokio::test]
async fn a_header_from_elsewhere_is_the_clients_own_words() {
    let world = World::start(10, 10, None);
    for words in [LINE, BINARY, LOCAL] {
        let answer = world.say(ELSEWHERE, words).await;
        let words = String::from_utf8_lossy(words);
        assert_eq!(answer.split_once('\n').unwrap().0, "127.0.0.3", "{words}");
    }
    assert_eq!(world.say(ELSEWHERE, b"hello").await, "127.0.0.3\nhello");
}

#[tokio::test]
async fn a_balancer_without_a_good_header_hears_nothing() {
    let world = World::start(10, 10, None);
    for words in [
        &b""[..],
        b"hello",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 56316\r\nhello",
        b"PROXY TCP4 203.0.113.7",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ] {
        assert_eq!(world.say(BALANCER, words).await, "", "{words:?}");
    }
    // Nothing of it is left.
    world.tasks.close();
    world.tasks.wait().await;
    let places: Vec<Slot> = (0..10).filter_map(|_| world.limits.take_unnamed()).collect();
    assert_eq!(places.len(), 10);
}

/// The clock goes on by itself when nothing else is to be done, which is when the header is waited for.
#[tokio::test(start_paused = true)]
async fn a_balancer_that_says_nothing_is_not_waited_for() {
    let world = World::start(10, 10, None);
    let begun = tokio::time::Instant::now();
    let mut stream = world.connect(BALANCER).await;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.is_empty());
    let waited = begun.elapsed();
    assert!(
        (Duration::from_secs(3)..=Duration::from_secs(6)).contains(&waited),
        "{waited:?}"
    );
}

#[tokio::test]
async fn limits_count_for_whom_the_header_names() {
    let world = World::start(5, 1, None);
    let header = |last: u8| format!("PROXY TCP4 203.0.113.{last} 192.0.2.1 56316 993\r\n");
    let mut held = Vec::new();
    for last in 1..=3 {
        let mut stream = world.connect(BALANCER).await;
        stream.write_all(header(last).as_bytes()).await.unwrap();
        let mut greeting = [0; "203.0.113.1\n".len()];
        stream.read_exact(&mut greeting).await.unwrap();
        held.push(stream);
    }
    // Another from an address that has one is refused.
    assert_eq!(world.say(BALANCER, header(1).as_bytes()).await, "");
    // Connections whose header is still to come count among all: the next one is refused without being waited for.
    let waiting = [world.connect(BALANCER).await, world.connect(BALANCER).await];
    let fourth = header(4);
    let refused = world.say(BALANCER, fourth.as_bytes());
    let refused = tokio::time::timeout(HEADER_MAX / 2, refused).await.unwrap();
    assert_eq!(refused, "");
    drop((waiting, held));
}

#[tokio::test]
async fn the_header_comes_before_the_handshake() {
    let issued = rcgen::generate_simple_self_signed(vec!["mail.test".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(issued.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    let world = World::start(10, 10, Some(TlsAcceptor::from(Arc::new(server))));
    for (from, header, wanted) in [
        (BALANCER, &LINE[..LINE.len() - 5], "203.0.113.7"),
        (BALANCER, &BINARY[..BINARY.len() - 5], "198.51.100.9"),
        (ELSEWHERE, &[], "127.0.0.3"),
    ] {
        let mut stream = world.connect(from).await;
        stream.write_all(header).await.unwrap();
        let name = ServerName::try_from("mail.test").unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, format!("{wanted}\nhello"));
    }
    // Who sends one without being asked to has no handshake, and is told nothing else.
    let answer = world.say(ELSEWHERE, LINE).await;
    assert!(!answer.contains("203.0.113.7"), "{answer}");
}
