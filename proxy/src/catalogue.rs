//! The metrics of a proxy.

use std::time::Duration;

use rookery_proto::directory::v1::request;
use rookery_proto::status::OUTCOMES;

/// IMAP's commands; `other` is unknown, or cannot be understood.
const IMAP_COMMANDS: [&str; 31] = [
    "APPEND",
    "AUTHENTICATE",
    "CAPABILITY",
    "CHECK",
    "CLOSE",
    "COPY",
    "CREATE",
    "DELETE",
    "ENABLE",
    "EXAMINE",
    "EXPUNGE",
    "FETCH",
    "ID",
    "IDLE",
    "LIST",
    "LOGIN",
    "LOGOUT",
    "LSUB",
    "MOVE",
    "NAMESPACE",
    "NOOP",
    "RENAME",
    "SEARCH",
    "SELECT",
    "STARTTLS",
    "STATUS",
    "STORE",
    "SUBSCRIBE",
    "UNSELECT",
    "UNSUBSCRIBE",
    "other",
];

/// SMTP's and LMTP's commands; `other` is unknown, or no command at all.
const SMTP_COMMANDS: [&str; 16] = [
    "AUTH", "BDAT", "DATA", "EHLO", "EXPN", "HELO", "HELP", "LHLO", "MAIL", "NOOP", "QUIT", "RCPT", "RSET",
    "STARTTLS", "VRFY", "other",
];

/// Protocols that take mail in.
const SMTP: [&str; 3] = ["smtp", "submission", "lmtp"];

/// What may become of a login.
const LOGINS: [&str; 4] = ["ok", "failed", "suspended", "unavailable"];

/// Calls to the directory.
const DIRECTORY_CALLS: [&str; 4] = ["resolve_recipient", "authenticate", "renew_token", "other"];

rookery_process::catalogue! {
    Always Gauge CONNECTIONS "rookery_proxy_connections" []
        "Open connections of clients, of all protocols";
    Always Gauge CONNECTIONS_MAX "rookery_proxy_connections_max" []
        "Connections that the proxy holds at most, as proxy.connections_max says";
    Always Counter CONNECTIONS_REFUSED "rookery_proxy_connections_refused_total" []
        "Connections that were refused, for there were too many in all or from an address";
    Used Counter HEADERS_REFUSED "rookery_proxy_headers_refused_total" [reason: &["absent", "cut", "other", "long", "wrong", "slow"]]
        "Connections from a load balancer that were closed, for they began with no good header of the PROXY protocol";
    Used Counter TLS_HANDSHAKES "rookery_proxy_tls_handshakes_total" [outcome: &["ok", "failed", "late"]]
        "TLS handshakes with clients";

    Always Counter IMAP_CONNECTIONS_TOTAL "rookery_proxy_imap_connections_total" []
        "IMAP connections that were begun";
    Always Gauge IMAP_CONNECTIONS "rookery_proxy_imap_connections" []
        "Open IMAP connections";
    Always Gauge IMAP_SESSIONS "rookery_proxy_imap_sessions" [state: &["not_authenticated", "authenticated", "selected", "idle"]]
        "IMAP sessions by state; idle: IDLE is under way";
    Used Counter IMAP_COMMANDS_TOTAL "rookery_proxy_imap_commands_total" [command: &IMAP_COMMANDS, outcome: &["ok", "no", "bad", "bye"]]
        "IMAP commands that were answered";
    Used Histogram IMAP_COMMAND_SECONDS "rookery_proxy_imap_command_duration_seconds" [command: &IMAP_COMMANDS]
        "From a whole IMAP command to its answer; of IDLE, how long it lasted";
    Used Counter IMAP_LOGINS "rookery_proxy_imap_logins_total" [outcome: &LOGINS]
        "Logins over IMAP";

    Used Counter SMTP_CONNECTIONS_TOTAL "rookery_proxy_smtp_connections_total" [protocol: &SMTP]
        "SMTP and LMTP connections that were begun";
    Always Gauge SMTP_CONNECTIONS "rookery_proxy_smtp_connections" [protocol: &SMTP]
        "Open SMTP and LMTP connections";
    Used Counter SMTP_COMMANDS_TOTAL "rookery_proxy_smtp_commands_total" [protocol: &SMTP, command: &SMTP_COMMANDS, outcome: &["ok", "later", "refused"]]
        "SMTP and LMTP commands by the worst reply to them: 2 and 3 ok, 4 later, 5 refused";
    Used Histogram SMTP_COMMAND_SECONDS "rookery_proxy_smtp_command_duration_seconds" [protocol: &SMTP, command: &SMTP_COMMANDS]
        "From an SMTP or LMTP command to its last reply; of DATA and BDAT with the content";
    Used Counter SMTP_RECIPIENTS "rookery_proxy_smtp_recipients_total" [outcome: &["accepted", "too_many", "not_local", "unknown", "suspended", "alias_loop", "unavailable"]]
        "Recipients by what RCPT was answered";
    Used Counter SMTP_LOGINS "rookery_proxy_smtp_logins_total" [outcome: &LOGINS]
        "Logins over submission";
    Used Counter SMTP_DELIVERIES "rookery_proxy_smtp_deliveries_total" [protocol: &SMTP, outcome: &["stored", "over_quota", "suspended", "unknown", "unavailable"]]
        "Messages by the worst that became of a recipient";
    Used Counter SMTP_RECEIVED_BYTES "rookery_proxy_smtp_received_bytes_total" [protocol: &SMTP]
        "Bytes of messages that came";
    Used Histogram SMTP_DELIVERY_SECONDS "rookery_proxy_smtp_delivery_duration_seconds" [protocol: &SMTP]
        "From the last byte of a message to the answer";
    Used Counter SMTP_HAND_OFFS "rookery_proxy_smtp_hand_offs_total" [outcome: &["kept", "done", "dropped", "later"]]
        "Recipients that could not be reached while others were: kept for later, and what became of them";

    Always Counter LOGINS_THROTTLED "rookery_proxy_logins_throttled_total" [protocol: &["imap", "submission"]]
        "Failed logins whose answer was held back longer than that of a first failure";
    Used Histogram LOGIN_DELAY_SECONDS "rookery_proxy_login_delay_seconds" [protocol: &["imap", "submission"]]
        "How long answers to failed logins were held back";

    Always Counter CACHE_LOOKUPS "rookery_proxy_cache_lookups_total" [cache: &["recipients", "logins"], outcome: &["hit", "miss"]]
        "What was looked for among recipients that are known, and, while the directory is away, among logins that it granted";
    Used Gauge DIRECTORY_AGE_SECONDS "rookery_proxy_directory_age_seconds" []
        "How long ago the directory was heard last";
    Used Counter DIRECTORY_CALLS_TOTAL "rookery_proxy_directory_calls_total" [call: &DIRECTORY_CALLS, outcome: &OUTCOMES]
        "Calls to the directory";
    Used Histogram DIRECTORY_CALL_SECONDS "rookery_proxy_directory_call_seconds" [call: &DIRECTORY_CALLS]
        "How long the directory's answer took";
}

/// What is looked for is there, or not.
pub(crate) fn looked_up(cache: &str, is_there: bool) {
    let outcome = if is_there { "hit" } else { "miss" };
    CACHE_LOOKUPS.with(&[cache, outcome]).increment(1);
}

/// The answer to a failed login is held back so long, where that to a first failure is for `first`.
pub(crate) fn held_back(protocol: &str, delay: Duration, first: Duration) {
    LOGIN_DELAY_SECONDS.with(&[protocol]).record(delay.as_secs_f64());
    if delay > first {
        LOGINS_THROTTLED.with(&[protocol]).increment(1);
    }
}

/// Counts a TLS handshake.
pub(crate) fn shook_hands(outcome: &str) {
    TLS_HANDSHAKES.with(&[outcome]).increment(1);
}

/// The name of a call to the directory.
pub(crate) fn directory_call(call: &request::Call) -> &'static str {
    match call {
        request::Call::ResolveRecipient(_) => "resolve_recipient",
        request::Call::Authenticate(_) => "authenticate",
        request::Call::RenewToken(_) => "renew_token",
        _ => "other",
    }
}
