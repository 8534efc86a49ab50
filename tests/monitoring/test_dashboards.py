"""Dashboards are what the generator prints, what Grafana reads, and tell their reader what he needs."""

import json
import unittest

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

import grafana
import outputs

FOLDER = outputs.ROOT / "helm/rookery/dashboards"
VARIABLES = ["datasource", "namespace", "job", "instance"]


def dashboards() -> dict[str, dict]:
    """All dashboards by the names of their files."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def panels(dashboard: dict) -> list[dict]:
    """Its panels, without the headings of rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def missing(written, read, path: str = "$") -> list[str]:
    """What is in one value and not, or otherwise, in another that may have more keys."""
    if isinstance(written, dict) and isinstance(read, dict):
        return [
            part for key, value in written.items()
            for part in (missing(value, read[key], f"{path}.{key}") if key in read else [f"{path}.{key}"])
        ]
    if isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        return [part for place, pair in enumerate(zip(written, read)) for part in missing(*pair, f"{path}[{place}]")]
    return [] if written == read else [path]


class Dashboards(unittest.TestCase):
    def test_they_are_what_the_generator_prints(self):
        made = {path: text for path, text in outputs.written().items() if path.parent == FOLDER}
        self.assertEqual(set(FOLDER.glob("*.json")), set(made))
        for path, text in made.items():
            self.assertEqual(path.read_text(), text, f"{path.name}: run helm/monitoring/generate")

    def test_grafana_understands_all_of_it(self):
        register_default_plugins()
        for name, written in dashboards().items():
            read = json.loads(json.dumps(Dashboard.from_json(written), cls=JSONEncoder))
            self.assertEqual(missing(written, read), [], name)
            self.assertEqual(written["schemaVersion"], Dashboard().schema_version)

    def test_what_grafana_does_not_know_is_found(self):
        register_default_plugins()
        written = dashboards()["overview"]
        panels(written)[0]["colour"] = "green"
        read = json.loads(json.dumps(Dashboard.from_json(written), cls=JSONEncoder))
        self.assertEqual(missing(written, read), ["$.panels[1].colour"])

    def test_each_can_be_found_and_shows_what_is_chosen(self):
        found = dashboards()
        self.assertEqual(
            set(found), {"overview", "protocols", "shards-and-rebalance", "storage", "queues", "abuse"}
        )
        for name, dashboard in found.items():
            self.assertEqual(dashboard["uid"], f"rookery-{name}")
            self.assertEqual(dashboard["refresh"], "30s")
            self.assertEqual([variable["name"] for variable in dashboard["templating"]["list"]], VARIABLES)

    def test_each_panel_tells_what_it_is_about(self):
        known = {value for value in vars(units).values() if isinstance(value, str)}
        for name, dashboard in dashboards().items():
            for panel in panels(dashboard):
                with self.subTest(dashboard=name, panel=panel["title"]):
                    self.assertTrue(panel["title"])
                    self.assertRegex(panel["description"], r"\w.*\.$")
                    self.assertIn(panel["fieldConfig"]["defaults"]["unit"], known)
                    steps = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
                    self.assertIsNone(steps[0])
                    self.assertEqual(steps[1:], sorted(steps[1:]))

    def test_each_query_asks_the_chosen_source_for_the_chosen_nodes(self):
        for name, dashboard in dashboards().items():
            for panel in panels(dashboard):
                self.assertEqual(panel["datasource"], grafana.DATASOURCE)
                for target in panel["targets"]:
                    with self.subTest(dashboard=name, panel=panel["title"]):
                        self.assertEqual(target["datasource"], grafana.DATASOURCE)
                        selectors = target["expr"].count("{")
                        self.assertGreater(selectors, 0)
                        self.assertEqual(target["expr"].count(grafana.CHOSEN), selectors)
                        self.assertNotIn("pod", target["expr"])
                        self.assertTrue(target["legendFormat"])

    def test_panels_lie_beside_each_other(self):
        for name, dashboard in dashboards().items():
            self.assertEqual(len({panel["id"] for panel in dashboard["panels"]}), len(dashboard["panels"]))
            taken: set[tuple[int, int]] = set()
            for panel in dashboard["panels"]:
                at = panel["gridPos"]
                own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
                self.assertFalse(own & taken, f"{name}: {panel['title']}")
                self.assertLessEqual(at["x"] + at["w"], 24)
                taken |= own
            titles = [panel["title"] for panel in panels(dashboard)]
            rows = [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"]
            self.assertGreater(len(titles), 10)
            self.assertEqual(len(rows), len(set(rows)))


if __name__ == "__main__":
    unittest.main()
