//! What a plan is refused for before anything is written.

use super::*;

#[test]
fn a_reply_that_cannot_be_kept_refuses_its_command() {
    let mut rig = Rig::new();
    rig.append(prepared(b"a")).expect("appends");
    let keyed = Mutation {
        account: ACCOUNT,
        key: Some(MutationKey {
            session: [1; 16],
            number: 1,
            issued_at_millis: rig.now,
        }),
        command: store(Mode::Add, &["k".into()]),
    };
    let mut context = PlanContext {
        shard: SHARD,
        now_millis: rig.now,
        limits: PlanLimits::default(),
    };
    let reply_bytes = plan(&rig.store, &context, &keyed).expect("plans").reply;
    let reply_bytes = prost::Message::encoded_len(&reply_bytes);
    context.limits.reply_bytes_max = reply_bytes - 1;
    let refused = plan(&rig.store, &context, &keyed).expect_err("is refused");
    assert_eq!(refused.reason, Reason::LimitExceeded);
    context.limits.reply_bytes_max = reply_bytes;
    plan(&rig.store, &context, &keyed).expect("plans");
}
