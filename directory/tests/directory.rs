//! The directory as its callers see it: over the local transport and the operator's gRPC, on a real store.

#![allow(clippy::unwrap_used, reason = "a test program, helpers included")]

mod world;

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Instant;

use prost::Message;
use rookery_proto::admin::v1::{self as admin, AccountState};
use rookery_proto::directory::v1::{AccountToken, Rights, TokenClaims, request};
use rookery_proto::{Reason, Role, directory};
use tonic::Code;
use world::{PATIENCE, Told, World, add_accounts, next_change, next_event, peer};

fn reason<T: std::fmt::Debug>(result: Result<T, rookery_proto::Status>) -> Reason {
    result.unwrap_err().reason
}

fn claims(token: &[u8]) -> TokenClaims {
    TokenClaims::decode(AccountToken::decode(token).unwrap().claims).unwrap()
}

async fn get(admin: &mut world::Admin, address: &str) -> Result<admin::GetAccountResponse, tonic::Status> {
    let request = admin::GetAccountRequest {
        address: address.to_owned(),
    };
    Ok(admin.get_account(request).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_spread_log_in_and_get_mail() {
    let world = World::with_accounts(&[]).await;
    let mut admin = world.admin().await;
    let accounts = add_accounts(
        &mut admin,
        &["a@example.test", "b@example.test", "c@example.test"],
    )
    .await
    .unwrap();
    assert!(
        accounts
            .iter()
            .all(|account| account.state() == AccountState::Active)
    );
    let nodes: HashSet<&str> = accounts.iter().map(|account| account.node.as_str()).collect();
    assert_eq!(nodes, HashSet::from(["mailstore-1", "mailstore-2"]));
    for account in &accounts {
        let told = Told::Put {
            node: account.node.clone(),
            shard: account.shard,
            account: account.id,
            quota_bytes: 1_000,
        };
        assert!(world.recorder.told.borrow().contains(&told), "{told:?}");
    }

    let session = world.login("A@Example.Test", "secret").await.unwrap();
    assert_eq!(
        (session.account, session.shard),
        (accounts[0].id, accounts[0].shard)
    );
    assert_eq!(session.address, "a@example.test");
    let said = claims(&session.token);
    assert_eq!((said.account, said.rights()), (session.account, Rights::Owner));
    assert_eq!(said.holder, "proxy-1");
    for (login, password) in [
        ("a@example.test", "Secret"),
        ("nobody@example.test", "secret"),
        ("a", "secret"),
        ("", ""),
    ] {
        assert_eq!(
            reason(world.login(login, password).await),
            Reason::BadCredentials,
            "{login}"
        );
    }

    let resolved = world.resolve("b+x@example.test").await.unwrap();
    assert_eq!(resolved.destinations.len(), 1);
    let destination = &resolved.destinations[0];
    assert_eq!(
        (destination.account, destination.address.as_str()),
        (accounts[1].id, "b+x@example.test")
    );
    assert_eq!(claims(&destination.token).rights(), Rights::Deliver);
    assert_eq!(
        reason(world.resolve("nobody@example.test").await),
        Reason::NotFound
    );
    assert_eq!(reason(world.resolve("a@elsewhere.test").await), Reason::NotLocal);

    let page = admin::ListAccountsRequest {
        after: "a@example.test".to_owned(),
        limit: 1,
        ..Default::default()
    };
    let page = admin.list_accounts(page).await.unwrap().into_inner().accounts;
    assert_eq!(page, [accounts[1].clone()]);
    let status = admin
        .get_status(admin::GetStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (status.domains, status.accounts, status.shards, status.nodes.len()),
        (1, 3, 16, 3)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_before_the_shards_are_placed() {
    let world = World::empty().await;
    let mut admin = world.admin().await;
    admin
        .add_domain(admin::AddDomainRequest {
            name: "example.test".to_owned(),
        })
        .await
        .unwrap();
    let refused = add_accounts(&mut admin, &["a@example.test"]).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    world.register_mailstores().await;
    assert!(add_accounts(&mut admin, &["a@example.test"]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailstore_that_is_away_gets_its_accounts_later() {
    let mut world = World::with_accounts(&[]).await;
    world.recorder.is_down.store(true, Ordering::SeqCst);
    let mut admin = world.admin().await;
    let late = add_accounts(&mut admin, &["a@example.test"]).await.unwrap_err();
    assert_eq!(late.code(), Code::Unavailable, "{late}");
    assert_eq!(
        reason(world.login("a@example.test", "secret").await),
        Reason::Unavailable
    );
    assert_eq!(reason(world.resolve("a@example.test").await), Reason::Unavailable);
    // Not even a restart makes it forget.
    world.restart().await;
    world.recorder.is_down.store(false, Ordering::SeqCst);
    world.until_told(|told| matches!(told, Told::Put { .. })).await;
    let (mut events, _) = world.watch().await;
    let began = Instant::now();
    while world.login("a@example.test", "secret").await.is_err() {
        assert!(began.elapsed() < PATIENCE);
        next_event(&mut events).await;
    }
    assert!(world.resolve("a@example.test").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn suspension_ends_sessions_and_refuses_mail() {
    let world = World::with_accounts(&["a@example.test"]).await;
    let mut admin = world.admin().await;
    let session = world.login("a@example.test", "secret").await.unwrap();
    let (mut events, first) = world.watch().await;
    let suspend = |suspended| admin::SetSuspendedRequest {
        address: "a@example.test".to_owned(),
        suspended,
    };
    admin.set_suspended(suspend(true)).await.unwrap();
    let change = next_change(&mut events).await;
    assert_eq!(change.version, first.version + 1);
    assert_eq!(
        (change.accounts[0].account, change.accounts[0].end_sessions),
        (session.account, true)
    );
    assert_eq!(
        reason(world.login("a@example.test", "secret").await),
        Reason::Suspended
    );
    assert_eq!(
        reason(world.login("a@example.test", "wrong").await),
        Reason::BadCredentials
    );
    assert_eq!(reason(world.resolve("a@example.test").await), Reason::Suspended);
    assert_eq!(
        reason(world.renew("proxy-1", &session.token).await),
        Reason::Suspended
    );
    assert_eq!(
        get(&mut admin, "a@example.test")
            .await
            .unwrap()
            .account
            .unwrap()
            .state(),
        AccountState::Suspended
    );
    admin.set_suspended(suspend(false)).await.unwrap();
    assert!(world.login("a@example.test", "secret").await.is_ok());
    assert!(world.resolve("a@example.test").await.is_ok());
    assert_eq!(
        reason(world.renew("proxy-1", &session.token).await),
        Reason::Suspended,
        "a session of before"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_replaces_the_old_at_once() {
    let world = World::with_accounts(&["a@example.test"]).await;
    let mut admin = world.admin().await;
    let session = world.login("a@example.test", "secret").await.unwrap();
    assert!(world.renew("proxy-1", &session.token).await.is_ok());
    assert_eq!(
        reason(world.renew("proxy-2", &session.token).await),
        Reason::PermissionDenied
    );
    assert_eq!(
        reason(world.renew("proxy-1", b"junk").await),
        Reason::PermissionDenied
    );
    let request = |address: &str, password: &str| admin::SetPasswordRequest {
        address: address.to_owned(),
        password: password.to_owned(),
    };
    admin
        .set_password(request("a@example.test", "other"))
        .await
        .unwrap();
    assert_eq!(
        reason(world.login("a@example.test", "secret").await),
        Reason::BadCredentials
    );
    assert!(world.login("a@example.test", "other").await.is_ok());
    assert_eq!(
        reason(world.renew("proxy-1", &session.token).await),
        Reason::Suspended
    );
    let unknown = admin
        .set_password(request("b@example.test", "other"))
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let empty = admin
        .set_password(request("a@example.test", ""))
        .await
        .unwrap_err();
    assert_eq!(empty.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_account_goes_and_its_id_never_comes_back() {
    let mut world = World::with_accounts(&["a@example.test"]).await;
    let mut admin = world.admin().await;
    let first = world.login("a@example.test", "secret").await.unwrap();
    let delete = |grace_seconds| admin::DeleteAccountRequest {
        address: "a@example.test".to_owned(),
        grace_seconds,
    };
    admin.delete_account(delete(Some(0))).await.unwrap();
    assert_eq!(
        reason(world.login("a@example.test", "secret").await),
        Reason::BadCredentials
    );
    assert_eq!(reason(world.resolve("a@example.test").await), Reason::NotFound);
    assert_eq!(
        reason(world.renew("proxy-1", &first.token).await),
        Reason::Suspended
    );
    world
        .until_told(|told| matches!(told, Told::Purge { account, .. } if *account == first.account))
        .await;
    world.restart().await;
    let mut admin = world.admin().await;
    let second = add_accounts(&mut admin, &["a@example.test"]).await.unwrap()[0].id;
    assert!(second > first.account);
    // With the usual grace its mail stays for now.
    admin.delete_account(delete(None)).await.unwrap();
    let third = add_accounts(&mut admin, &["a@example.test"]).await.unwrap()[0].id;
    assert!(third > second);
    assert!(
        !world
            .recorder
            .told
            .borrow()
            .iter()
            .any(|told| matches!(told, Told::Purge { account, .. } if *account == second))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_all() {
    let mut world = World::with_accounts(&["a@example.test", "b@example.test"]).await;
    let mut admin = world.admin().await;
    let alias = admin::Alias {
        name: "team@example.test".to_owned(),
        targets: vec!["a@example.test".to_owned(), "b@example.test".to_owned()],
    };
    admin
        .add_alias(admin::AddAliasRequest {
            alias: Some(alias.clone()),
        })
        .await
        .unwrap();
    let quota = admin::SetQuotaRequest {
        address: "a@example.test".to_owned(),
        quota_bytes: 77,
    };
    admin.set_quota(quota).await.unwrap();
    assert!(
        world
            .recorder
            .told
            .borrow()
            .iter()
            .any(|told| matches!(told, Told::Put { quota_bytes: 77, .. }))
    );
    let session = world.login("a@example.test", "secret").await.unwrap();
    let before = get(&mut admin, "a@example.test").await.unwrap();
    assert_eq!(before.aliases, ["team@example.test"]);
    let shards = admin
        .list_shards(admin::ListShardsRequest {})
        .await
        .unwrap()
        .into_inner();
    let (_, snapshot) = world.watch().await;

    world.restart().await;
    let mut admin = world.admin().await;
    assert_eq!(get(&mut admin, "a@example.test").await.unwrap(), before);
    assert_eq!(
        admin
            .list_shards(admin::ListShardsRequest {})
            .await
            .unwrap()
            .into_inner(),
        shards
    );
    let aliases = admin
        .list_aliases(admin::ListAliasesRequest::default())
        .await
        .unwrap()
        .into_inner()
        .aliases;
    assert_eq!(aliases, [alias]);
    let (_, again) = world.watch().await;
    // That it leads again is a change of its own.
    assert!(again.version > snapshot.version);
    let again = directory::v1::WatchEvent {
        version: snapshot.version,
        ..again
    };
    assert_eq!(again, snapshot);
    assert!(
        world.renew("proxy-1", &session.token).await.is_ok(),
        "signed by the same key"
    );
    assert_eq!(
        world
            .resolve("team@example.test")
            .await
            .unwrap()
            .destinations
            .len(),
        2
    );
    assert!(world.login("b@example.test", "secret").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_make_only_their_own_calls() {
    let world = World::with_accounts(&["a@example.test"]).await;
    let stranger = peer(Role::Mailstore, "mailstore-1");
    let calls = [
        request::Call::Authenticate(directory::v1::Authenticate::default()),
        request::Call::ResolveRecipient(directory::v1::ResolveRecipient::default()),
        request::Call::RenewToken(directory::v1::RenewToken::default()),
    ];
    for call in calls {
        assert_eq!(
            reason(world.call(stranger.clone(), call).await),
            Reason::PermissionDenied
        );
    }
    assert_eq!(
        reason(
            world
                .register(stranger.clone(), "mailstore-2", world::CLUSTER)
                .await
        ),
        Reason::PermissionDenied
    );
    assert_eq!(
        reason(
            world
                .register(peer(Role::Proxy, "mailstore-1"), "mailstore-1", world::CLUSTER)
                .await
        ),
        Reason::PermissionDenied
    );
    assert_eq!(
        reason(world.register(stranger, "mailstore-1", "other").await),
        Reason::FailedPrecondition
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_need_the_token() {
    let world = World::with_accounts(&[]).await;
    for token in [None, Some("wrong-token-wrong-token")] {
        let mut admin = world.admin_with(token).await;
        let refused = admin
            .list_domains(admin::ListDomainsRequest {})
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{token:?}");
    }
    let mut admin = world.admin().await;
    let domains = admin
        .list_domains(admin::ListDomainsRequest {})
        .await
        .unwrap()
        .into_inner()
        .domains;
    assert_eq!(domains.len(), 1);
    let again = admin
        .add_domain(admin::AddDomainRequest {
            name: "Example.Test".to_owned(),
        })
        .await
        .unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
    let not_there = admin
        .remove_domain(admin::RemoveDomainRequest {
            name: "x.test".to_owned(),
        })
        .await
        .unwrap_err();
    assert_eq!(not_there.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_changes_and_signs_of_life() {
    let world = World::empty().await;
    let (mut events, first) = world.watch().await;
    assert!(first.snapshot && first.shards.is_empty());
    assert_eq!((first.nodes.len(), first.keys.len()), (1, 1));
    assert_eq!(
        next_event(&mut events).await.version,
        first.version,
        "a sign of life"
    );
    world.register_mailstores().await;
    assert_eq!(next_change(&mut events).await.nodes[0].id, "mailstore-1");
    let placed = next_change(&mut events).await;
    assert_eq!((placed.nodes.len(), placed.shards.len()), (1, 16));
    assert_eq!(placed.version, first.version + 2);
    assert!(
        placed
            .shards
            .iter()
            .all(|shard| shard.generation == 1 && shard.replicas.len() == 1)
    );
    let (_, late) = world.watch().await;
    assert_eq!(
        (late.version, late.shards.len(), late.nodes.len()),
        (placed.version, 16, 3)
    );
    assert!(late.nodes.iter().all(|node| node.alive));
}
