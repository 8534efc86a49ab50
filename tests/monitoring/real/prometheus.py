"""A Prometheus of the test's own: it scrapes each node once a second, evaluates rules as often, and answers queries."""

import json
import pathlib
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

from real.until import until


class Prometheus:
    """A running Prometheus. `targets` are nodes by job: `{job: {instance: address}}`."""

    def __init__(self, folder: pathlib.Path, targets: dict[str, dict[str, str]], rules: dict):
        folder.mkdir()
        self._log = folder / "log"
        (folder / "rules.yaml").write_text(yaml.safe_dump(rules, sort_keys=False))
        (folder / "prometheus.yaml").write_text(yaml.safe_dump({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {
                    "job_name": job,
                    "static_configs": [
                        {"targets": [address], "labels": {"instance": instance}} for instance, address in nodes.items()
                    ],
                }
                for job, nodes in targets.items()
            ],
        }))
        command = [
            "prometheus", f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0", "--log.level=info",
        ]
        with self._log.open("wb") as out:
            try:
                self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            except FileNotFoundError as error:
                raise AssertionError("prometheus is missing: run .ci/install test") from error
        self.began = time.time()
        self._address = ""
        try:
            until("Prometheus is ready", 30, self._is_ready, self.said)
        except BaseException:
            self.stop()
            raise

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"Prometheus has ended:\n{self.said()}")
        # The system has chosen the port.
        found = re.search(r'msg="Listening on" address=(\S+)', self.said())
        if not found:
            return False
        self._address = found[1]
        try:
            with urllib.request.urlopen(f"http://{self._address}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def said(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-20000:]

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, path: str, **parameters) -> dict | list:
        asked = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode(errors='replace')}") from error

    def shown(self, expression: str) -> list[float]:
        """The numbers that a picture of an expression shows from the beginning until now; what is no number is not among them."""
        answer = self._ask("query_range", query=expression, start=self.began, end=time.time(), step="1s")
        values = (float(value) for series in answer["result"] for _, value in series["values"])
        return [value for value in values if value == value]

    def query(self, expression: str) -> list[dict]:
        """What an expression is at this moment: `metric` and `value` of each series."""
        return self._ask("query", query=expression)["result"]

    def targets(self) -> list[dict]:
        """What it scrapes, and how that went."""
        return self._ask("targets")["activeTargets"]

    def rules(self) -> list[dict]:
        """All rules, and how their evaluation went."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def firing(self) -> dict[str, list[dict]]:
        """The labels of what fires, by the alert's name."""
        found: dict[str, list[dict]] = {}
        for alert in self._ask("alerts")["alerts"]:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"]["alertname"], []).append(alert["labels"])
        return found
