"""Faults that are real make alerts fire. Each test has a cluster of its own, breaks it, and sees none of the alerts before."""

import itertools
import pathlib
import re
import subprocess
import tempfile
import unittest

from real import clients
from real.playground import Playground
from real.prometheus import Prometheus
from real.short import shortened
from real.until import until

# These look at the machine's own disk and pace, which are not the test's to choose.
OF_THE_MACHINE = {"RookeryDiskFillsUp", "RookeryDiskNearlyFull", "RookeryLogSlow", "RookeryCommandsSlow", "RookeryStoreStalls"}

# Scrapes before a cluster counts as one that is well: longer than any window and any `for:` of the rules here.
SCRAPES = 14


class Alerts(unittest.TestCase):
    def start(self, arguments: list[str], settings: dict[str, str] | None = None) -> None:
        """A cluster that is well, which no alert fires about."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix="alerts-"))
        self.playground = Playground(folder / "playground", ["--shards", "8", "--accounts", "12", *arguments], settings)
        self.addCleanup(self.playground.stop)
        self.prometheus = Prometheus(folder / "prometheus", self.playground.targets(), shortened())
        self.addCleanup(self.prometheus.stop)
        nodes = len(self.playground.manifest()["nodes"])
        until(
            "all nodes have been read often enough", 60,
            lambda: self.number(f"count(count_over_time(up[1m]) >= {SCRAPES} and up == 1)") == nodes, self.playground.said,
        )
        self.assertEqual(set(self.prometheus.firing()) - OF_THE_MACHINE, set())

    def number(self, expression: str) -> float:
        """The only number that an expression is; 0 when it is none."""
        found = self.prometheus.query(expression)
        return float(found[0]["value"][1]) if found else 0

    def assert_fire(self, *alerts: str, seconds: float = 60) -> dict[str, list[dict]]:
        """Waits until all of some alerts have fired; their labels then. Those that stop again meanwhile count."""
        seen: dict[str, list[dict]] = {}

        def holds() -> bool:
            seen.update(self.prometheus.firing())
            return set(alerts) <= set(seen)

        until(f"{', '.join(alerts)} fire", seconds, holds, lambda: f"fired: {sorted(seen)}\n{self.playground.said()}")
        return seen

    def test_a_mailstore_dies(self):
        self.start(["--mailstores", "3", "--proxies", "1"], {"proxy.patience": "2s"})
        self.playground.kill("mailstore-2")
        address = self.playground.proxy(0, "smtp")
        # Each shard has one replica, so somebody's mail is there.
        recipients = itertools.cycle(f"user{number}@example.test" for number in range(1, 13))
        with clients.again_and_again(6, lambda: clients.send(address, next(recipients), "late")):
            fired = self.assert_fire("RookeryNodeDown", "RookeryNodeSilent", "RookeryShardHasNoLeader", "RookeryDeliveriesDeferred")
        self.assertEqual([labels["instance"] for labels in fired["RookeryNodeDown"]], ["mailstore-2"])

    def test_a_disk_has_no_room_for_new_mail_and_then_the_directory_dies(self):
        self.start(["--mailstores", "1", "--proxies", "1"], {"mailstore.disk_free_min": str(1 << 60)})
        address = self.playground.proxy(0, "smtp")
        with clients.again_and_again(1, lambda: clients.send(address, "user1@example.test", "no room")):
            self.assert_fire("RookeryMailHasNoSpace")
        self.playground.kill("directory-1")
        fired = self.assert_fire("RookeryNodeDown", "RookeryDirectoryHasNoLeader")
        self.assertEqual([labels["instance"] for labels in fired["RookeryNodeDown"]], ["directory-1"])
        self.assertEqual(fired["RookeryDirectoryHasNoLeader"][0]["severity"], "critical")

    def test_clients_are_too_many_and_guess_passwords_and_a_certificate_ends(self):
        limit = 30
        self.start(["--mailstores", "1", "--proxies", "1"], {"proxy.connections_max": str(limit)})
        address = self.playground.proxy(0, "imap")
        self._end_certificate_in_days(5)
        with clients.again_and_again(12, lambda: clients.log_in_wrongly(address, "user1@example.test", "guessed")):
            self.assert_fire("RookeryLoginFailuresSurge")
        with clients.many(address, limit - 2):
            fired = self.assert_fire("RookeryConnectionsNearLimit", "RookeryCertificateEndsSoon")
            with clients.again_and_again(1, lambda: clients.knock(address, 4)):
                self.assert_fire("RookeryConnectionsRefused")
        self.assertEqual({labels["use"] for labels in fired["RookeryCertificateEndsSoon"]}, {"mail"})

    def _end_certificate_in_days(self, days: int) -> None:
        """Gives the proxy a certificate for mail clients that ends soon; it reads it by itself."""
        configuration = pathlib.Path(self.playground.node("proxy-1")["data"]) / "rookery.toml"
        section = dict(re.findall(r'(?m)^(certificate|key) = "(.*)"$', configuration.read_text().partition("[proxy]")[2]))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", str(days),
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
             "-keyout", section["key"], "-out", section["certificate"]],
            check=True, capture_output=True, timeout=20,
        )


if __name__ == "__main__":
    unittest.main()
