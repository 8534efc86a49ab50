//! What happens to calls when connections break, peers are not who they must be, or nobody is there.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use rookery_proto::remote::names::NodeName;
use rookery_proto::remote::{
    ConnectOptions, Endpoint, NodeTls, Remote, Server, ServerOptions, WhenDown, connect,
};
use rookery_proto::{Body, Caller, DirectoryProtocol, MailstoreProtocol, Reason, Role, Status};
use support::certificates::Authority;
use support::relay::{Mode, Relay};
use support::scripted::said;
use support::{CLUSTER, PATIENCE, Running, caller, patient, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_cut_connection_fails_every_call_in_flight_and_comes_back() {
    let authority = Authority::new();
    let server = Running::start(&authority, ServerOptions::default()).await;
    let relay = Relay::start(server.address, Mode::Forward).await;
    let caller = caller(
        relay.address,
        authority.node("proxy-1", Role::Proxy, CLUSTER),
        patient(),
    );
    let calls: Vec<_> = (0..3).map(|_| start(&caller, "never", None, PATIENCE)).collect();
    let (_sender, body) = Body::channel();
    let bulk = start(&caller, "hand-on", Some(body), PATIENCE);
    server.service.until(|seen| seen.begun == 4).await;
    relay.set(Mode::Cut);
    for replies in calls.into_iter().chain([bulk]) {
        let status = replies.single().await.unwrap_err();
        assert_eq!(status.reason, Reason::Unavailable, "{status}");
    }
    // The service's calls are dropped, and a task that took a body does not take it for whole.
    let seen = server
        .service
        .until(|seen| seen.dropped == 4 && seen.lost.is_some())
        .await;
    assert_eq!(seen.lost.unwrap().reason, Reason::Cancelled);
    relay.set(Mode::Forward);
    let reply = start(&caller, "echo back", None, PATIENCE)
        .single()
        .await
        .unwrap();
    assert_eq!(said(reply).1, "back");
    caller.close().await;
}

#[tokio::test]
async fn a_call_waits_for_a_server_that_comes_later() {
    let authority = Authority::new();
    let server = Running::start(&authority, ServerOptions::default()).await;
    let mut relay = Relay::start(server.address, Mode::Cut).await;
    let caller = caller(
        relay.address,
        authority.node("proxy-1", Role::Proxy, CLUSTER),
        patient(),
    );
    let replies = start(&caller, "echo late", None, PATIENCE);
    relay.refused(2).await;
    relay.set(Mode::Forward);
    assert_eq!(said(replies.single().await.unwrap()).1, "late");
}

#[tokio::test]
async fn calls_to_nobody_fail_as_the_options_say() {
    let authority = Authority::new();
    let tls = authority.node("proxy-1", Role::Proxy, CLUSTER);
    let relay = Relay::start(([127, 0, 0, 1], 1).into(), Mode::Cut).await;
    let options = |when_down| ConnectOptions {
        when_down,
        ..ConnectOptions::default()
    };

    let fast = caller(relay.address, tls.clone(), options(WhenDown::FailFast));
    let status = start(&fast, "echo", None, PATIENCE).single().await.unwrap_err();
    assert_eq!(status.reason, Reason::Unavailable);

    // As long as the call may take: it would end by its deadline.
    let once = caller(relay.address, tls.clone(), options(WhenDown::Once(PATIENCE)));
    // The second comes while the next attempt may not be made yet.
    for _ in 0..2 {
        let status = start(&once, "echo", None, PATIENCE).single().await.unwrap_err();
        assert_eq!(status.reason, Reason::Unavailable);
        assert!(status.message.contains("cannot be reached"), "{status}");
    }

    let waiting = caller(
        relay.address,
        tls.clone(),
        options(WhenDown::Wait(Duration::from_secs(1))),
    );
    let status = start(&waiting, "echo", None, PATIENCE)
        .single()
        .await
        .unwrap_err();
    assert_eq!(status.reason, Reason::Unavailable);
    assert!(status.message.contains("cannot be reached"), "{status}");

    let short = start(&waiting, "echo", None, Duration::from_millis(10))
        .single()
        .await
        .unwrap_err();
    assert_eq!(short.reason, Reason::DeadlineExceeded);
    // Dropped while it waits: nothing is left to close.
    drop(start(&waiting, "echo", None, PATIENCE));
    waiting.close().await;
}

#[tokio::test]
async fn a_silent_peer_costs_no_more_than_the_deadline() {
    let authority = Authority::new();
    let server = Running::start(&authority, ServerOptions::default()).await;
    let relay = Relay::start(server.address, Mode::Forward).await;
    let caller = caller(
        relay.address,
        authority.node("proxy-1", Role::Proxy, CLUSTER),
        patient(),
    );
    start(&caller, "echo up", None, PATIENCE).single().await.unwrap();
    relay.set(Mode::Frozen);
    let status = start(&caller, "echo", None, Duration::from_millis(100))
        .single()
        .await
        .unwrap_err();
    assert_eq!(status.reason, Reason::DeadlineExceeded);
}

#[tokio::test]
async fn too_many_calls_in_flight_are_refused() {
    let authority = Authority::new();
    let server = Running::start(&authority, ServerOptions::default()).await;
    let options = ConnectOptions {
        calls_max: 2,
        ..patient()
    };
    let caller = caller(
        server.address,
        authority.node("proxy-1", Role::Proxy, CLUSTER),
        options,
    );
    start(&caller, "echo up", None, PATIENCE).single().await.unwrap();
    let held = [
        start(&caller, "hold", None, PATIENCE),
        start(&caller, "hold", None, PATIENCE),
    ];
    let status = start(&caller, "echo", None, PATIENCE).single().await.unwrap_err();
    assert_eq!(status.reason, Reason::LimitExceeded);
    server.service.release.add_permits(2);
    for replies in held {
        replies.single().await.unwrap();
    }
    start(&caller, "echo again", None, PATIENCE)
        .single()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stopping_server_ends_what_is_in_flight_and_takes_no_more() {
    let authority = Authority::new();
    let options = ServerOptions {
        grace: PATIENCE,
        ..ServerOptions::default()
    };
    let server = Running::start(&authority, options).await;
    let options = ConnectOptions {
        when_down: WhenDown::FailFast,
        ..patient()
    };
    let tls = authority.node("proxy-1", Role::Proxy, CLUSTER);
    let first = caller(server.address, tls.clone(), patient());
    let held = start(&first, "hold", None, PATIENCE);
    server.service.until(|seen| seen.begun == 1).await;
    server.stop.cancel();
    // On the same stream, or after it ended: either way it is refused.
    while start(&first, "echo", None, Duration::from_secs(1))
        .single()
        .await
        .is_ok()
    {}
    server.service.release.add_permits(1);
    assert_eq!(said(held.single().await.unwrap()).1, "held");
    server.task.await.unwrap().unwrap();
    let second = caller(server.address, tls, options);
    let status = start(&second, "echo", None, PATIENCE).single().await.unwrap_err();
    assert_eq!(status.reason, Reason::Unavailable);
}

#[tokio::test]
async fn peers_that_are_not_ours_are_refused_and_disturb_nobody() {
    let authority = Authority::new();
    // The server's certificate is good for callers of another cluster too, so that it is the server that refuses.
    let mut names: Vec<String> = Vec::new();
    for cluster in [CLUSTER, "c2"] {
        let name = rookery_proto::remote::names::NodeName::new("directory-1", Role::Directory, cluster);
        names.extend(name.unwrap().dns_names());
    }
    let server = Running::start_as(authority.node_with(&names), ServerOptions::default()).await;
    let good = caller(
        server.address,
        authority.node("proxy-1", Role::Proxy, CLUSTER),
        patient(),
    );
    let held = start(&good, "hold", None, PATIENCE);
    server.service.until(|seen| seen.begun == 1).await;

    let short = || ConnectOptions {
        when_down: WhenDown::Wait(Duration::from_secs(2)),
        ..patient()
    };
    let foreign = Authority::new().node("proxy-1", Role::Proxy, CLUSTER);
    let status = start(&caller(server.address, foreign, short()), "echo", None, PATIENCE)
        .single()
        .await;
    let status = status.unwrap_err();
    assert_eq!(status.reason, Reason::Unavailable);
    assert!(status.message.contains("certificate"), "{status}");

    let other_cluster = authority.node("proxy-1", Role::Proxy, "c2");
    let status = start(
        &caller(server.address, other_cluster, patient()),
        "echo",
        None,
        PATIENCE,
    )
    .single()
    .await;
    let status = status.unwrap_err();
    assert_eq!(status.reason, Reason::PermissionDenied);
    assert!(status.message.contains("cluster c2"), "{status}");

    let other_role = authority.node("directory-2", Role::Directory, CLUSTER);
    let status = start(
        &caller(server.address, other_role, patient()),
        "echo",
        None,
        PATIENCE,
    )
    .single()
    .await;
    let status = status.unwrap_err();
    assert_eq!(status.reason, Reason::PermissionDenied);
    assert!(
        status.message.contains("may not call the directory service"),
        "{status}"
    );

    // A server that is not the role, or not of the cluster, that the caller expects.
    let endpoint = Endpoint {
        address: server.address.to_string(),
        role: Role::Mailstore,
        tls: authority.node("proxy-1", Role::Proxy, CLUSTER),
    };
    let wrong = connect::<MailstoreProtocol>(endpoint, short()).unwrap();
    let request = rookery_proto::mailstore::v1::Request::default();
    let context = rookery_proto::CallContext::with_timeout(PATIENCE);
    let replies = wrong.call(rookery_proto::Call {
        context,
        request,
        body: None,
    });
    let status = replies.single().await.unwrap_err();
    assert_eq!(status.reason, Reason::Unavailable);
    assert!(status.message.contains("certificate"), "{status}");

    server.service.release.add_permits(1);
    held.single().await.unwrap();
}

#[tokio::test]
async fn garbage_on_the_port_disturbs_nobody() {
    let authority = Authority::new();
    let server = Running::start(&authority, ServerOptions::default()).await;
    let good = caller(
        server.address,
        authority.node("proxy-1", Role::Proxy, CLUSTER),
        patient(),
    );
    let held = start(&good, "hold", None, PATIENCE);
    server.service.until(|seen| seen.begun == 1).await;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 4096],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        // The server answers with a TLS alert at most, and closes.
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.len() < 64, "{answer:?}");
    }
    // Connections that say nothing.
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    start(&good, "echo on", None, PATIENCE).single().await.unwrap();
    let newcomer = caller(
        server.address,
        authority.node("proxy-2", Role::Proxy, CLUSTER),
        patient(),
    );
    start(&newcomer, "echo on", None, PATIENCE)
        .single()
        .await
        .unwrap();
    server.service.release.add_permits(1);
    held.single().await.unwrap();
}

/// The mailstore's protocol goes the same way; one call of it shows that its service is wired.
#[tokio::test]
async fn mailstores_are_called_too() {
    use futures_util::future::BoxFuture;
    use rookery_proto::mailstore::v1::{Done, Reply, Request, reply};
    use rookery_proto::{Incoming, ReplySink, Service, Status};

    struct Fixed;
    impl Service<MailstoreProtocol> for Fixed {
        fn serve(
            self: Arc<Self>,
            call: Incoming<MailstoreProtocol>,
            replies: ReplySink<MailstoreProtocol>,
        ) -> BoxFuture<'static, Result<(), Status>> {
            Box::pin(async move {
                let done = Done {
                    modseq: call.request.seen_modseq + 1,
                };
                replies
                    .send(Reply {
                        call: Some(reply::Call::Done(done)),
                    })
                    .await
            })
        }
    }

    let authority = Authority::new();
    let stop = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tls = authority.node("mailstore-1", Role::Mailstore, CLUSTER);
    let server = Server::new(tls, ServerOptions::default(), stop.clone())
        .add::<MailstoreProtocol>(Arc::new(Fixed), &[Role::Proxy]);
    let serving = tokio::spawn(server.serve(listener));
    let tls = authority.node("proxy-1", Role::Proxy, CLUSTER);
    let remote = connect::<MailstoreProtocol>(
        Endpoint {
            address,
            role: Role::Mailstore,
            tls,
        },
        patient(),
    )
    .unwrap();
    let request = Request {
        seen_modseq: 41,
        ..Request::default()
    };
    let context = rookery_proto::CallContext::with_timeout(PATIENCE);
    let reply = remote
        .call(rookery_proto::Call {
            context,
            request,
            body: None,
        })
        .single()
        .await
        .unwrap();
    assert_eq!(reply.call, Some(reply::Call::Done(Done { modseq: 42 })));
    remote.close().await;
    stop.cancel();
    serving.await.unwrap().unwrap();
}

/// A change of authority as an operator makes it: both are trusted, then certificates are of the new one, then that alone is trusted.
#[tokio::test]
async fn connections_are_made_with_the_certificate_of_the_moment() {
    let (old, new) = (Authority::new(), Authority::new());
    let names = |node: &str, role| NodeName::new(node, role, CLUSTER).unwrap().dns_names();
    let directory = old.node("directory-1", Role::Directory, CLUSTER);
    let proxy = old.node("proxy-1", Role::Proxy, CLUSTER);
    let server = Running::start_as(directory.clone(), ServerOptions::default()).await;
    let first = caller(server.address, proxy.clone(), patient());
    let ask = async |caller: &Remote<DirectoryProtocol>| {
        let reply = start(caller, "echo here", None, PATIENCE).single().await?;
        Ok::<_, Status>(said(reply).1)
    };
    assert_eq!(ask(&first).await.unwrap(), "here");

    let bundle = format!("{}{}", old.pem(), new.pem());
    for (tls, node, role) in [
        (&directory, "directory-1", Role::Directory),
        (&proxy, "proxy-1", Role::Proxy),
    ] {
        let issued = old.issue(&names(node, role));
        tls.replace(
            bundle.as_bytes(),
            issued.certificate.as_bytes(),
            issued.key.as_bytes(),
        )
        .unwrap();
    }
    // One is of the new authority, the other still of the old one.
    let issued = new.issue(&names("directory-1", Role::Directory));
    directory
        .replace(
            bundle.as_bytes(),
            issued.certificate.as_bytes(),
            issued.key.as_bytes(),
        )
        .unwrap();
    let second = caller(server.address, proxy.clone(), patient());
    assert_eq!(ask(&second).await.unwrap(), "here");
    let issued = new.issue(&names("proxy-1", Role::Proxy));
    let before = proxy.peer().certificate;
    for (tls, ca) in [(&proxy, bundle.clone()), (&proxy, new.pem())] {
        tls.replace(
            ca.as_bytes(),
            issued.certificate.as_bytes(),
            issued.key.as_bytes(),
        )
        .unwrap();
    }
    assert_ne!(proxy.peer().certificate, before);
    let third = caller(server.address, proxy.clone(), patient());
    assert_eq!(ask(&third).await.unwrap(), "here");

    // What cannot be used, or is of another node, changes nothing.
    let held = proxy.peer();
    let stranger = new.issue(&names("proxy-2", Role::Proxy));
    for (ca, certificate, key) in [
        (new.pem(), stranger.certificate.clone(), stranger.key.clone()),
        (new.pem(), stranger.certificate, issued.key.clone()),
        (new.pem(), "half a fi".to_owned(), issued.key.clone()),
        (String::new(), issued.certificate.clone(), issued.key.clone()),
    ] {
        let replaced = proxy.replace(ca.as_bytes(), certificate.as_bytes(), key.as_bytes());
        assert!(replaced.is_err());
    }
    assert_eq!(proxy.peer(), held);

    // Once the old one is trusted no more, who comes with it is refused; connections that are there live on.
    let issued = new.issue(&names("directory-1", Role::Directory));
    directory
        .replace(
            new.pem().as_bytes(),
            issued.certificate.as_bytes(),
            issued.key.as_bytes(),
        )
        .unwrap();
    let late = old.issue(&names("proxy-3", Role::Proxy));
    let late = NodeTls::from_pem(
        bundle.as_bytes(),
        late.certificate.as_bytes(),
        late.key.as_bytes(),
    )
    .unwrap();
    let refused = caller(
        server.address,
        late,
        ConnectOptions {
            when_down: WhenDown::Once(PATIENCE),
            ..ConnectOptions::default()
        },
    );
    assert_eq!(ask(&refused).await.unwrap_err().reason, Reason::Unavailable);
    for caller in [&first, &second, &third] {
        assert_eq!(ask(caller).await.unwrap(), "here");
    }
}
