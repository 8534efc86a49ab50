"""The generated files, by path: dashboards out of the modules here, plain rules out of the chart's."""

import json
import pathlib

import abuse
import overview
import protocols
import queues
import shards
import storage

ROOT = pathlib.Path(__file__).resolve().parents[2]
DASHBOARDS = (overview, protocols, shards, storage, queues, abuse)
CHART_RULES = ROOT / "helm/rookery/files/rules.yaml"
PLAIN_RULES = ROOT / "docs/monitoring/rules.yaml"

_HEAD = """\
# Recording and alert rules for a Prometheus whose jobs are called rookery, or begin with rookery-.
# Made by helm/monitoring/generate out of helm/rookery/files/rules.yaml: change it there.
groups:
  - name: rookery
    rules:
"""


def plain_rules() -> str:
    """The chart's rules without what only Kubernetes has."""
    lines = CHART_RULES.read_text().splitlines()
    rules = "\n".join(f"      {line}" if line else "" for line in lines if not line.startswith("#"))
    rules = rules.replace('namespace="NAMESPACE",', "").replace("FULLNAME", "rookery").replace("RUNBOOKS", "docs/runbooks")
    return _HEAD + rules + "\n"


def _dashboard(dashboard: dict) -> str:
    """As JSON, with a line for each panel."""
    panels = ",\n".join(f"  {json.dumps(panel)}" for panel in dashboard["panels"])
    text = json.dumps({**dashboard, "panels": []}, indent=1)
    return text.replace('"panels": []', f'"panels": [\n{panels}\n ]') + "\n"


def written() -> dict[pathlib.Path, str]:
    """All of them."""
    made = {
        ROOT / f"helm/rookery/dashboards/{module.DASHBOARD.name}.json": _dashboard(module.DASHBOARD.json())
        for module in DASHBOARDS
    }
    made[PLAIN_RULES] = plain_rules()
    return made
