//! The same calls between processes: mutual TLS, tokens bound to the caller's certificate, large bodies in windows.

use std::sync::Arc;

use bytes::Bytes;
use rookery_process::certificates::Authority;
use rookery_proto::directory::v1::{Rights, TokenClaims};
use rookery_proto::mailstore::v1::{self as proto, reply, request::Call as Wire};
use rookery_proto::remote::names::NodeName;
use rookery_proto::remote::{ConnectOptions, Endpoint, NodeTls, Server, ServerOptions, connect};
use rookery_proto::{Caller, MailstoreProtocol, Reason, Role};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::*;

const CLUSTER: &str = "c1";

fn tls(authority: &Authority, node: &str, role: Role) -> NodeTls {
    let names = NodeName::new(node, role, CLUSTER).unwrap().dns_names();
    let issued = authority.issue(&names).unwrap();
    let ca = authority.certificate().as_bytes();
    NodeTls::from_pem(ca, issued.certificate.as_bytes(), issued.key.as_bytes()).unwrap()
}

fn bound(account: u64, rights: Rights, holder: &Bytes) -> Bytes {
    sign(&TokenClaims {
        holder: holder.clone(),
        ..claims(account, rights)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_between_processes() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::start(folder.path()).await;
    fixture.put_accounts().await;
    let authority = Authority::create(CLUSTER).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    let server = Server::new(
        tls(&authority, "mailstore-1", Role::Mailstore),
        ServerOptions::default(),
        stop.clone(),
    );
    let serving = tokio::spawn(
        server
            .add::<MailstoreProtocol>(fixture.mailstore.service(), &[Role::Proxy, Role::Directory])
            .serve(listener),
    );
    let client = |node: &str| {
        let tls = tls(&authority, node, Role::Proxy);
        let holder = tls.peer().certificate;
        let endpoint = Endpoint {
            address: address.clone(),
            role: Role::Mailstore,
            tls,
        };
        let caller: Arc<dyn Caller<MailstoreProtocol>> =
            Arc::new(connect::<MailstoreProtocol>(endpoint, ConnectOptions::default()).unwrap());
        (Client { caller }, holder)
    };
    let (proxy, holder) = client("proxy-1");
    let (thief, thiefs_holder) = client("proxy-2");

    // A large message goes up in windows, and comes down the same.
    let body = Bytes::from(
        (0..3_000_000u32)
            .flat_map(|at| at.to_le_bytes().map(|byte| byte | 1))
            .collect::<Vec<u8>>(),
    );
    let id = unique();
    let told = proxy
        .upload(bound(ANN, Rights::Deliver, &holder), id, body.clone())
        .await
        .unwrap();
    assert_eq!(told.size, body.len() as u64);
    let mut message = delivery(&[ANN], uploaded(id));
    message.recipients[0].token = bound(ANN, Rights::Deliver, &holder);
    let outcomes = proxy.deliver(message.clone()).await.unwrap();
    assert_eq!(outcomes[0].error, None);
    let fetch = Wire::Fetch(proto::Fetch {
        mailbox: 1,
        uids: all(),
        sections: vec![proto::Section::default()],
        ..proto::Fetch::default()
    });
    let owner = bound(ANN, Rights::Owner, &holder);
    let mut replies = proxy.start(request(fetch.clone()), owner.clone(), None);
    let mut got = Vec::new();
    while let Some(reply) = replies.next().await {
        // Other calls pass while this one is under way.
        let list = Wire::ListMailboxes(proto::ListMailboxes {});
        if got.len() % 7 == 0 {
            proxy.ask(list, owner.clone()).await.unwrap();
        }
        let Some(reply::Call::Rows(rows)) = reply.unwrap().call else {
            panic!("rows come")
        };
        rows.rows
            .iter()
            .flat_map(|row| &row.sections)
            .for_each(|section| got.extend_from_slice(&section.data));
    }
    assert!(got == [&prefix(ANN)[..], &body].concat());

    // A token is of no use to another certificate, whole calls and single recipients alike.
    let refused = thief.ask(fetch, owner).await.unwrap_err();
    assert_eq!(refused.reason, Reason::PermissionDenied);
    message.transaction = unique().to_vec().into();
    let stolen = message.recipients[0].clone();
    message.recipients.push(stolen);
    message.recipients[0].token = bound(ANN, Rights::Deliver, &thiefs_holder);
    message.body = Some(inline(b"\r\n"));
    let outcomes = thief.deliver(message).await.unwrap();
    assert_eq!(outcomes[0].error, None);
    assert_eq!(
        outcomes[1].error.as_ref().unwrap().reason(),
        Reason::PermissionDenied
    );

    stop.cancel();
    serving.await.unwrap().unwrap();
    drop((proxy, thief));
    fixture.stop().await;
}
