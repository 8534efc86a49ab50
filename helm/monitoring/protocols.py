"""What clients do and what they are answered: IMAP, SMTP, submission, LMTP, TLS."""

from grafana import Dashboard, Panel
from promql import part, per_second, quantile, total

_NOT_IDLE = 'command!="IDLE"'

DASHBOARD = Dashboard("protocols", "Protocols", "What mail clients and servers ask, what they are answered, and how fast.", (
    ("IMAP", (
        Panel(
            "Sessions", "By state. Clients spend their days in `idle` and `selected`; many in `not_authenticated` are somebody who only connects.",
            "short", (total("rookery_proxy_imap_sessions", "state"),), stacked=True,
        ),
        Panel(
            "New connections", "A second, by proxy. High beside few sessions: clients that connect for each command, or that are thrown out.",
            "cps", (per_second("rookery_proxy_imap_connections_total"),),
        ),
        Panel(
            "Commands", "A second, by command.", "reqps", (per_second("rookery_proxy_imap_commands_total", "command"),), stacked=True,
        ),
        Panel(
            "Median time", "Of each command, without IDLE.", "s",
            (quantile(0.5, "rookery_proxy_imap_command_duration_seconds", "command", _NOT_IDLE, "{{command}}"),), warn=0.1, bad=0.5,
        ),
        Panel(
            "Time of the slowest hundredth", "Of each command, without IDLE. Large FETCH and SEARCH take long by nature; all at once is the store, the "
            "network, or a shard that has changed its leader.", "s",
            (quantile(0.99, "rookery_proxy_imap_command_duration_seconds", "command", _NOT_IDLE, "{{command}}"),), warn=0.5, bad=2,
        ),
        Panel(
            "Commands that were refused", "A second: `no`, `bad` and `bye` by command. LOGIN `no` is a wrong password.", "reqps",
            (per_second("rookery_proxy_imap_commands_total", "command, outcome", 'outcome!="ok"'),),
        ),
    )),
    ("SMTP, submission and LMTP", (
        Panel(
            "Connections", "Open ones by protocol.", "short", (total("rookery_proxy_smtp_connections", "protocol"),), stacked=True,
        ),
        Panel(
            "New connections", "A second, by protocol.", "cps", (per_second("rookery_proxy_smtp_connections_total", "protocol"),),
        ),
        Panel(
            "Commands", "A second, by protocol and command.", "reqps", (per_second("rookery_proxy_smtp_commands_total", "protocol, command"),), stacked=True,
        ),
        Panel(
            "Commands that were not taken", "A second: `later` (4xx) and `refused` (5xx) by command. `later` at RCPT and DATA is the directory or a shard "
            "that is away.", "reqps", (per_second("rookery_proxy_smtp_commands_total", "command, outcome", 'outcome!="ok"'),),
        ),
        Panel(
            "Time of commands", "The slowest hundredth of each command; DATA and BDAT until the message is answered.", "s",
            (quantile(0.99, "rookery_proxy_smtp_command_duration_seconds", "command", legend="{{command}}"),), warn=1, bad=5,
        ),
        Panel(
            "Recipients", "What was said at RCPT, a second. `unavailable` is told to come later.", "reqps",
            (per_second("rookery_proxy_smtp_recipients_total", "outcome"),), stacked=True,
        ),
        Panel(
            "Messages", "A second, by protocol and outcome.", "mps", (per_second("rookery_proxy_smtp_deliveries_total", "protocol, outcome"),), stacked=True,
        ),
        Panel(
            "Time of deliveries", "The slowest hundredth, from the last byte to the answer.", "s",
            (quantile(0.99, "rookery_proxy_smtp_delivery_duration_seconds", "protocol", legend="{{protocol}}"),), warn=1, bad=5,
        ),
        Panel(
            "Hand-offs", "Recipients whose shard was away and whose mail another shard keeps meanwhile: `kept`, then `done` when it has come. `later` "
            "again and again is a shard that stays away.", "ops", (per_second("rookery_proxy_smtp_hand_offs_total", "outcome"),),
        ),
    )),
    ("TLS and logins", (
        Panel(
            "TLS handshakes", "A second, by outcome. `failed` all at once after a change of certificate is that certificate.", "ops",
            (per_second("rookery_proxy_tls_handshakes_total", "outcome"),),
        ),
        Panel("IMAP logins", "A second, by outcome.", "reqps", (per_second("rookery_proxy_imap_logins_total", "outcome"),)),
        Panel("Submission logins", "A second, by outcome.", "reqps", (per_second("rookery_proxy_smtp_logins_total", "outcome"),)),
    )),
    ("The directory as proxies see it", (
        Panel(
            "Calls", "A second, by call and outcome. `REASON_UNAVAILABLE` and `REASON_NOT_LEADER` pass; when they stay, the directory is away.", "reqps",
            (per_second("rookery_proxy_directory_calls_total", "call, outcome"),),
        ),
        Panel(
            "Time of calls", "The slowest hundredth. `authenticate` has the verification of the password in it.", "s",
            (quantile(0.99, "rookery_proxy_directory_call_seconds", "call", legend="{{call}}"),), warn=0.5, bad=2,
        ),
        Panel(
            "Answers from the cache", "Part of lookups that the proxy answers by itself. `logins` are looked for only while the directory is away.",
            "percentunit", (part("rookery_proxy_cache_lookups_total", 'outcome="hit"', "cache"),), maximum=1,
        ),
    )),
))
