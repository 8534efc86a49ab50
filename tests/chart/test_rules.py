"""Alert rules, and whatever else names a metric, name ones that the program exposes."""

import json
import pathlib
import re
import shutil
import tempfile
import unittest

import yaml

import chart

NAME = re.compile(r"\brookery_[a-z_]+\b")


def exposed() -> set[str]:
    """The metrics that there are. A test of the program holds the document against what it records by."""
    return set(re.findall(r"^\| `(rookery_[a-z_]+)` \|", (chart.ROOT / "docs/metrics.md").read_text(), re.MULTILINE))


def named(text: str) -> set[str]:
    """The metrics that an expression names; those of a histogram by the histogram's name."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in NAME.findall(text)}


class Rules(unittest.TestCase):
    def rules(self):
        documents = chart.render((chart.CHART / "values-cluster.yaml",))
        return chart.find(documents, "PrometheusRule", "mail-rookery")["spec"]["groups"][0]["rules"]

    def test_their_metrics_are_exposed(self):
        known = exposed()
        self.assertGreater(len(known), 30)
        for rule in self.rules():
            with self.subTest(rule=rule["alert"]):
                self.assertLessEqual(named(rule["expr"]), known)

    def test_they_look_at_this_release_alone(self):
        for rule in self.rules():
            with self.subTest(rule=rule["alert"]):
                selectors = re.findall(r"\{([^}]*)\}", rule["expr"])
                self.assertTrue(selectors)
                for selector in selectors:
                    self.assertIn('namespace="post"', selector)
                    self.assertIn('job=~"mail-rookery(-.*)?"', selector)

    def test_each_says_what_it_is_about(self):
        for rule in self.rules():
            with self.subTest(rule=rule["alert"]):
                self.assertTrue(rule["annotations"]["summary"])
                self.assertTrue(rule["annotations"]["description"])
                self.assertIn(rule["labels"]["severity"], ("warning", "critical"))

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

    def test_dashboards_name_metrics_that_are_exposed(self):
        for path in (chart.CHART / "dashboards").glob("*.json"):
            with self.subTest(dashboard=path.name):
                self.assertLessEqual(named(path.read_text()), exposed())


if __name__ == "__main__":
    unittest.main()
