"""The rules are valid, are the chart's, and each alert fires when it should and not beside it. Each has a runbook and each runbook an alert."""

import pathlib
import tempfile
import unittest

import yaml

import outputs
from rules_in_test import alerts, as_promtool_reads_them, cases, promtool, rules


def check(tests: list[dict]):
    """Has promtool run tests."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "tests.yaml"
        path.write_text(yaml.safe_dump({"rule_files": [str(outputs.PLAIN_RULES)], "evaluation_interval": "1m", "tests": tests}))
        return promtool("test", "rules", str(path))


class Rules(unittest.TestCase):
    def test_they_are_what_the_generator_makes_of_the_charts(self):
        self.assertEqual(outputs.PLAIN_RULES.read_text(), outputs.plain_rules(), "run helm/monitoring/generate")

    def test_they_and_the_configuration_are_valid(self):
        made = promtool("check", "config", str(outputs.ROOT / "docs/monitoring/prometheus.yaml"))
        self.assertEqual(made.returncode, 0, made.stdout + made.stderr)
        made = promtool("check", "rules", "--lint-fatal", str(outputs.PLAIN_RULES))
        self.assertEqual(made.returncode, 0, made.stdout + made.stderr)
        self.assertIn(f"{len(rules())} rules found", made.stdout)

    def test_nothing_of_kubernetes_or_of_the_chart_is_left(self):
        text = outputs.PLAIN_RULES.read_text()
        for word in ("NAMESPACE", "FULLNAME", "RUNBOOKS", "namespace=", "pod"):
            self.assertNotIn(word, text)

    def test_what_they_go_by_is_recorded_before(self):
        recorded: set[str] = set()
        for rule in rules():
            used = {word for word in rule["expr"].replace("{", " ").replace("(", " ").split() if ":rookery_" in word}
            self.assertLessEqual(used, recorded, rule)
            if "record" in rule:
                recorded.add(rule["record"])
        self.assertGreaterEqual(len(recorded), 5)

    def test_each_says_how_bad_it_is_what_it_means_and_where_more_stands(self):
        self.assertGreater(len(alerts()), 20)
        for name, rule in alerts().items():
            with self.subTest(alert=name):
                self.assertIn(rule["labels"]["severity"], ("warning", "critical"))
                self.assertEqual(set(rule["annotations"]), {"summary", "description", "runbook_url"})
                self.assertRegex(rule["annotations"]["description"], r"[.?]$")

    def test_each_fires_and_does_not_fire_beside_it(self):
        made = check([test for name, case in cases().items() for test in as_promtool_reads_them(name, case)])
        self.assertEqual(made.returncode, 0, made.stdout + made.stderr)

    def test_one_that_does_not_fire_as_told_is_found(self):
        case = dict(cases()["RookeryNodeDown"])
        case["silent"] = [fires["series"] for fires in case["fires"]]
        self.assertNotEqual(check(as_promtool_reads_them("RookeryNodeDown", case)).returncode, 0)

    def test_each_has_cases_of_both_kinds(self):
        self.assertEqual(set(cases()), set(alerts()))
        for name, case in cases().items():
            with self.subTest(alert=name):
                self.assertTrue(case["fires"])
                self.assertTrue(case["silent"])


if __name__ == "__main__":
    unittest.main()
