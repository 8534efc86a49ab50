"""Under a load that has a bit of everything, each query of each panel, and each recorded series, shows something."""

import json
import pathlib
import tempfile
import unittest

import outputs
from real import clients
from real.playground import Playground
from real.prometheus import Prometheus
from real.short import shipped
from real.until import until

# What Grafana puts in the place of its variables when all is chosen.
CHOSEN = {"$namespace": ".*", "$job": "(rookery-directory|rookery-mailstore|rookery-proxy)", "$instance": ".*", "$__rate_interval": "5s"}

# What shows 0 where nothing is to be shown.
ZERO = " or on() vector(0)"

# Panels of what does not happen in a cluster that is well, and does not happen here: 0 is what they must show. All others must show more
# than the 0 that stands in for nothing.
QUIET = {
    "overview: Nodes that do not answer", "overview: Probes that failed",
    "protocols: Hand-offs",
    "shards-and-rebalance: Lookups at members that follow", "shards-and-rebalance: Without an operator's word",
    "shards-and-rebalance: Calls that failed",
    "storage: Calls that were not answered OK", "storage: Damage", "storage: Time since all was read", "storage: Garbage among bodies",
    "queues: Unusual messages",
    "abuse: Messages without structure", "abuse: Operators' calls that were refused",
}

SHARDS = 8

# Connections of all clients here, and some to spare.
CONNECTIONS = 80


def queries() -> dict[str, str]:
    """All queries of all panels, with the 0 that stands in for nothing only where nothing is to be expected."""
    found: dict[str, str] = {}
    for path in sorted((outputs.ROOT / "helm/rookery/dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                expression = target["expr"]
                for variable, value in CHOSEN.items():
                    expression = expression.replace(variable, value)
                name = f"{path.stem}: {panel['title']}"
                found[f"{name} ({target['legendFormat']})"] = expression if name in QUIET else expression.replace(ZERO, "")
    return found


class Panels(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="panels-"))
        arguments = ["--mailstores", "3", "--proxies", "2", "--replicas", "3", "--shards", str(SHARDS), "--accounts", "12"]
        cls.playground = Playground(folder / "playground", arguments, {"proxy.connections_max": str(CONNECTIONS)})
        cls.addClassCleanup(cls.playground.stop)
        # The fourth mailstore has to be scraped from its start, so it comes first.
        cls.playground.grow()
        cls.prometheus = Prometheus(folder / "prometheus", cls.playground.targets(), shipped())
        cls.addClassCleanup(cls.prometheus.stop)
        nodes = len(cls.playground.manifest()["nodes"])
        until("all nodes are read", 30, lambda: cls.prometheus.query(f"sum(up) == {nodes}"))
        cls._live()

    @classmethod
    def _live(cls) -> None:
        """A day in the life of a cluster, in half a minute."""
        of = cls.playground
        # One more than a proxy takes; before others come, who would be refused as well.
        with clients.many(of.proxy(1, "imap"), CONNECTIONS + 1):
            cls._wait_for("sum(rookery_proxy_connections_refused_total)", 1)
        cls._wait_for("sum(rookery_proxy_connections) == bool 0", 1)
        loads = [
            of.load("mixed", "--sessions", "6", "--seconds", "12", "--warmup", "1", "--rate", "60", "--set", "mixed.messages=5"),
            *(
                of.load("deliver", "--sessions", "3", "--seconds", "12", "--warmup", "1", "--rate", "10", "--set", f"deliver.protocol={protocol}")
                for protocol in ("lmtp", "smtp", "submission")
            ),
        ]
        clients.search(of.proxy(0, "imaps"), "user1@example.test")
        # Of what is on no page before it has happened, a rate sees only the second time.
        for already in range(3):
            clients.log_in_wrongly(of.proxy(0, "imap"), "user2@example.test", "wrong")
            clients.submit_wrongly(of.proxy(0, "submission"), "user2@example.test", "wrong")
            cls._wait_for("sum(rookery_proxy_login_delay_seconds_count)", 2 * already + 2)
        clients.send(of.proxy(0, "smtp"), "nobody@example.test", "lost")
        clients.talk_nonsense(of.proxy(0, "imap"), of.proxy(0, "smtp"))
        clients.break_handshake(of.proxy(0, "imaps"))
        clients.ask_for_nothing(of.node("directory-1")["http"])
        of.rookery("rebalance", "--yes", seconds=90)
        for already, account in enumerate(("user3@example.test", "user4@example.test")):
            own = json.loads(of.rookery("account", "show", account, "--json"))["accounts"][0]["shard"]
            of.rookery("account", "move", account, "--to-shard", str((own + 1) % SHARDS))
            cls._wait_for("sum(rookery_directory_account_frozen_seconds_count)", already + 1)
        for load in loads:
            if load.wait(timeout=90) != 0:
                raise AssertionError(f"a load went wrong:\n{of.folder.with_suffix('.load').read_text()}\n{of.said()}")

    @classmethod
    def _wait_for(cls, expression: str, least: float) -> None:
        until(f"{expression} is {least}", 30, lambda: cls.prometheus.query(f"{expression} >= {least}"), cls.playground.said)

    def test_each_query_shows_something(self):
        asked = queries()
        self.assertGreater(len(asked), 100)
        for name in QUIET:
            self.assertTrue(all(ZERO in query for asked_name, query in asked.items() if asked_name.startswith(name)), name)
        empty = dict(asked)

        def holds() -> bool:
            for name in [name for name, expression in empty.items() if self.prometheus.shown(expression)]:
                del empty[name]
            return not empty

        # What happened last may not have been read yet.
        until("all queries show something", 15, holds, lambda: "\n".join(f"{name}\n    {query}" for name, query in empty.items()))

    def test_what_is_recorded_is_there(self):
        recorded = [rule["name"] for rule in self.prometheus.rules() if rule["type"] == "recording"]
        self.assertGreaterEqual(len(recorded), 5)
        for name in recorded:
            with self.subTest(series=name):
                until(f"{name} shows something", 15, lambda name=name: self.prometheus.shown(name))

    def test_all_rules_can_be_evaluated(self):
        until("all rules are evaluated", 30, lambda: all(rule["health"] != "unknown" for rule in self.prometheus.rules()))
        wrong = [(rule["name"], rule.get("lastError")) for rule in self.prometheus.rules() if rule["health"] != "ok"]
        self.assertEqual(wrong, [])

    def test_what_a_panel_counts_is_what_was_done(self):
        # Each of these was done by hand above; loads do none of them.
        for expression, least in (
            ('sum(rookery_proxy_imap_logins_total{outcome="failed"})', 3),
            ('sum(rookery_proxy_smtp_logins_total{outcome="failed"})', 1),
            ('sum(rookery_proxy_smtp_recipients_total{outcome="unknown"})', 1),
            ('sum(rookery_proxy_imap_commands_total{command="other",outcome="bad"})', 1),
            ('sum(rookery_proxy_smtp_commands_total{command="other",outcome="refused"})', 1),
            ('sum(rookery_proxy_tls_handshakes_total{outcome="failed"})', 1),
            ("sum(rookery_proxy_connections_refused_total)", 1),
            ("sum(rookery_directory_transfers_total)", 1),
            ('sum(rookery_directory_account_moves_total{outcome="done"})', 1),
            ('sum(rookery_directory_shards{state="whole"})', SHARDS),
        ):
            with self.subTest(expression=expression):
                until(
                    f"{expression} is at least {least}", 15,
                    lambda expression=expression, least=least: any(value >= least for value in self.prometheus.shown(expression)),
                )


if __name__ == "__main__":
    unittest.main()
