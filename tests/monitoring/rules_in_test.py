"""The rules, and the cases of `rules/` as promtool reads them."""

import functools
import pathlib
import subprocess

import yaml

import outputs

CASES = pathlib.Path(__file__).resolve().parent / "rules"


@functools.lru_cache(maxsize=None)
def rules() -> list[dict]:
    """All rules, for a Prometheus outside Kubernetes."""
    return yaml.safe_load(outputs.PLAIN_RULES.read_text())["groups"][0]["rules"]


def alerts() -> dict[str, dict]:
    """The alert rules by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


@functools.lru_cache(maxsize=None)
def cases() -> dict[str, dict]:
    """The cases of all alerts by name."""
    found: dict[str, dict] = {}
    for path in sorted(CASES.glob("*.yaml")):
        for alert, case in yaml.safe_load(path.read_text()).items():
            if alert in found:
                raise AssertionError(f"{alert} has cases in two files")
            found[alert] = case
    return found


def _series(given: dict[str, str], job: str, instance: str) -> list[dict]:
    made = []
    for name, values in given.items():
        metric, _, labels = name.rstrip("}").partition("{")
        labels = ",".join(part for part in (labels, f'job="{job}"', f'instance="{instance}"') if part)
        made.append({"series": f"{metric}{{{labels}}}", "values": values})
    return made


def as_promtool_reads_them(alert: str, case: dict) -> list[dict]:
    """The tests of one alert: those in which it fires, then those in which it does not."""
    rule = alerts()[alert]
    job, instance = f"rookery-{case['role']}", f"{case['role']}-1"
    tests = []
    for fires in case["fires"]:
        labels = {"severity": rule["labels"]["severity"], **fires.get("labels", {})}
        labels |= {label: {"job": job, "instance": instance}[label] for label in fires["by"]}
        expected = {"exp_labels": labels, "exp_annotations": {**rule["annotations"], "summary": fires["summary"]}}
        tests.append((fires["series"], [expected]))
    tests += [(series, []) for series in case["silent"]]
    return [
        {
            "name": f"{alert} {number}", "interval": "1m", "input_series": _series(series, job, instance),
            "alert_rule_test": [{"eval_time": case["after"], "alertname": alert, "exp_alerts": expected}],
        }
        for number, (series, expected) in enumerate(tests)
    ]


def promtool(*arguments: str) -> subprocess.CompletedProcess:
    """Runs promtool; the caller looks at how it ended."""
    try:
        return subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=120, check=False)
    except FileNotFoundError as error:
        raise AssertionError("promtool is missing: run .ci/install test") from error
