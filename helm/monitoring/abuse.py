"""Who tries what he should not: too many connections, guessed passwords, guessed addresses, input that nobody sends by accident."""

from grafana import Dashboard, Panel, Query
from promql import median_and_p99, part, per_second, total, zero

DASHBOARD = Dashboard("abuse", "Abuse", "Connections, logins and input that look like an attack, or like a client gone wrong.", (
    ("Connections", (
        Panel(
            "Part of what a proxy takes", "Open connections of `proxy.connections_max`. At 1 it refuses everybody.", "percentunit",
            (Query("rookery_proxy_connections / rookery_proxy_connections_max"),), warn=0.6, bad=0.8, maximum=1,
        ),
        Panel(
            "Refused", "A second: too many in all, or of one address (`proxy.connections_per_address_max`). The proxy's log names the addresses.",
            "cps", (per_second("rookery_proxy_connections_refused_total"),), warn=0.1, bad=1,
        ),
        Panel(
            "Sessions that do not log in", "IMAP sessions before their login. Many that stay: somebody holds connections open.", "short",
            (total("rookery_proxy_imap_sessions", where='state="not_authenticated"'),), warn=500,
        ),
        Panel(
            "TLS handshakes that failed", "A second, `failed` and `late`. Scanners make some always.", "ops",
            (per_second("rookery_proxy_tls_handshakes_total", "outcome", 'outcome!="ok"'),), warn=5,
        ),
    )),
    ("Passwords", (
        Panel(
            "Failed logins", "A second, by protocol. `suspended` accounts that go on trying are in it.", "reqps",
            (per_second("rookery_proxy_imap_logins_total", "outcome", 'outcome=~"failed|suspended"', "imap {{outcome}}"),
             per_second("rookery_proxy_smtp_logins_total", "outcome", 'outcome=~"failed|suspended"', "submission {{outcome}}")), warn=1, bad=10,
        ),
        Panel(
            "Part of logins that fail", "Of all IMAP logins, by proxy. It rises with an attack and falls back after it; a step that stays is a client.",
            "percentunit", (part("rookery_proxy_imap_logins_total", 'outcome="failed"'),), warn=0.3, bad=0.5, maximum=1,
        ),
        Panel(
            "Held back", "Failed logins a second whose answer was held back longer than the first one's: the same address goes on guessing.", "ops",
            (per_second("rookery_proxy_logins_throttled_total", "protocol"),), warn=1,
        ),
        Panel("How long they are held back", "Median and slowest hundredth.", "s", median_and_p99("rookery_proxy_login_delay_seconds")),
        Panel(
            "Wrong passwords", "A second, as the directory has found them. Each costs a hash.", "ops",
            (per_second("rookery_directory_password_verifications_total", "", 'result="wrong"', "wrong"),
             per_second("rookery_directory_password_verifications_total", "", 'result="refused"', "refused, queue full")), warn=5, bad=50,
        ),
    )),
    ("Addresses", (
        Panel(
            "Recipients that are not there", "A second. A stream of them is somebody who looks for addresses.", "ops",
            (per_second("rookery_proxy_smtp_recipients_total", "outcome", 'outcome=~"unknown|not_local|too_many|alias_loop"'),), warn=5, bad=50,
        ),
        Panel(
            "Part of recipients that are refused", "By proxy.", "percentunit",
            (part("rookery_proxy_smtp_recipients_total", 'outcome=~"unknown|not_local|too_many"'),), warn=0.5, maximum=1,
        ),
    )),
    ("Input", (
        Panel(
            "IMAP that is not understood", "Commands a second that were answered `bad`; `other` is no command at all.", "reqps",
            (per_second("rookery_proxy_imap_commands_total", "command", 'outcome="bad"'),), warn=1, bad=10,
        ),
        Panel(
            "SMTP that is refused", "Commands a second that were answered 5xx, by command; `other` is no command at all.", "reqps",
            (per_second("rookery_proxy_smtp_commands_total", "command", 'outcome="refused"'),), warn=5,
        ),
        Panel(
            "Messages made to hurt", "In the last hour: analyses that took too long, or ended their worker.", "short",
            (Query(zero("sum(increase(rookery_mailstore_analysis_overruns_total[1h]))"), "overruns"),
             Query(zero("sum(increase(rookery_mailstore_analysis_workers_killed_total[1h]))"), "workers killed")), warn=1,
        ),
        Panel(
            "Messages without structure", "In the last hour, by cause: too large, failed, panicked.", "short",
            (Query(zero("sum by (cause) (increase(rookery_mailstore_messages_opaque_total[1h]))"), "{{cause}}"),), warn=10,
        ),
        Panel(
            "HTTP that is refused", "Requests a second that were answered 4xx: wrong tokens, paths that are not there.", "reqps",
            (per_second("rookery_http_requests_total", "path", 'status="4xx"'),), warn=1,
        ),
        Panel(
            "Operators' calls that were refused", "A second. Somebody without the token, or a tool with an old one.", "reqps",
            (per_second("rookery_directory_admin_calls_total", "outcome", 'outcome=~"REASON_PERMISSION_DENIED|REASON_BAD_CREDENTIALS"'),), bad=0.1,
        ),
    )),
))
