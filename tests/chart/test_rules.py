"""Alert rules, and whatever else names a metric, name ones that the program exposes."""

import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import yaml

import chart

# A name that was recorded has colons around this one; what it stands for is looked at where it is recorded.
NAME = re.compile(r"(?<![\w:])rookery_[a-z_]+(?![\w:])")


def exposed() -> set[str]:
    """The metrics that there are. A test of the program holds the document against what it records by."""
    return set(re.findall(r"^\| `(rookery_[a-z_]+)` \|", (chart.ROOT / "docs/metrics.md").read_text(), re.MULTILINE))


def named(text: str) -> set[str]:
    """The metrics that an expression names; those of a histogram by the histogram's name."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in NAME.findall(text)}


class Rules(unittest.TestCase):
    def groups(self, *settings: str):
        documents = chart.render((chart.CHART / "values-cluster.yaml",), settings)
        return chart.find(documents, "PrometheusRule", "mail-rookery")["spec"]["groups"]

    def rules(self, *settings: str):
        return self.groups(*settings)[0]["rules"]

    def alerts(self, *settings: str):
        return [rule for rule in self.rules(*settings) if "alert" in rule]

    def test_prometheus_takes_them(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "rules.yaml"
            path.write_text(yaml.safe_dump({"groups": self.groups()}))
            made = subprocess.run(
                ["promtool", "check", "rules", "--lint-fatal", str(path)], capture_output=True, text=True, timeout=20, check=False
            )
        self.assertEqual(made.returncode, 0, made.stdout + made.stderr)
        self.assertIn(f"{len(self.rules())} rules found", made.stdout)

    def test_their_metrics_are_exposed(self):
        known = exposed()
        self.assertGreater(len(known), 30)
        for rule in self.rules():
            with self.subTest(rule=rule.get("alert") or rule["record"]):
                self.assertLessEqual(named(rule["expr"]), known)

    def test_they_look_at_this_release_alone(self):
        for rule in self.rules():
            with self.subTest(rule=rule.get("alert") or rule["record"]):
                selectors = re.findall(r"\{([^}]*)\}", rule["expr"])
                self.assertTrue(selectors)
                for selector in selectors:
                    self.assertIn('namespace="post"', selector)
                    self.assertIn('job=~"mail-rookery(-.*)?"', selector)

    def test_each_says_what_it_is_about_and_where_more_stands(self):
        for rule in self.alerts():
            with self.subTest(rule=rule["alert"]):
                self.assertTrue(rule["annotations"]["summary"])
                self.assertTrue(rule["annotations"]["description"])
                self.assertTrue((chart.ROOT / rule["annotations"]["runbook_url"]).is_file())
                self.assertIn(rule["labels"]["severity"], ("warning", "critical"))

    def test_a_site_says_where_its_runbooks_are(self):
        there = "https://wiki.example.org/mail/"
        for rule in self.alerts(f"monitoring.prometheusRule.runbooks={there}"):
            self.assertRegex(rule["annotations"]["runbook_url"], "^https://wiki.example.org/mail/[a-z-]+.md$")

    def test_nodes_are_called_by_their_pods(self):
        documents = chart.render((chart.CHART / "values-cluster.yaml",))
        endpoint = chart.find(documents, "ServiceMonitor", "mail-rookery")["spec"]["endpoints"][0]
        self.assertIn({"sourceLabels": ["__meta_kubernetes_pod_name"], "targetLabel": "instance"}, endpoint["relabelings"])

    def test_proxies_are_scaled_by_a_metric_that_is_exposed(self):
        documents = chart.render(chart.cases()["cert-manager"])
        scaler = chart.find(documents, "HorizontalPodAutoscaler", "mail-rookery-proxy")
        metric = scaler["spec"]["metrics"][0]["pods"]["metric"]["name"]
        self.assertIn(metric, exposed())

    def test_a_dashboard_becomes_a_configmap_as_it_is(self):
        dashboard = json.dumps({"title": "Mail", "expr": "{{pod}} $__rate_interval"})
        with tempfile.TemporaryDirectory() as folder:
            copy = pathlib.Path(folder) / "rookery"
            shutil.copytree(chart.CHART, copy)
            (copy / "dashboards/overview.json").write_text(dashboard + "\n")
            values = str(copy / "values-cluster.yaml")
            made = chart.helm(4, "template", "mail", str(copy), "--values", values)
            documents = [one for one in yaml.safe_load_all(made.stdout) if one]
        held = chart.find(documents, "ConfigMap", "mail-rookery-dashboard-overview")
        self.assertEqual(held["data"]["overview.json"].strip(), dashboard)
        self.assertEqual(held["metadata"]["labels"]["grafana_dashboard"], "1")

    def test_each_dashboard_becomes_one(self):
        documents = chart.render((chart.CHART / "values-cluster.yaml",))
        paths = list((chart.CHART / "dashboards").glob("*.json"))
        self.assertEqual(len(paths), 6)
        for path in paths:
            held = chart.find(documents, "ConfigMap", f"mail-rookery-dashboard-{path.stem}")
            self.assertEqual(json.loads(held["data"][path.name]), json.loads(path.read_text()))

    def test_dashboards_name_metrics_that_are_exposed(self):
        for path in (chart.CHART / "dashboards").glob("*.json"):
            with self.subTest(dashboard=path.name):
                self.assertLessEqual(named(path.read_text()), exposed())


if __name__ == "__main__":
    unittest.main()
