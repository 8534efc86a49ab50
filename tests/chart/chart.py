"""The chart as tests see it: rendered by a Helm of a fixed version, and taken apart."""

import functools
import os
import pathlib
import re
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "rookery"
CASES = pathlib.Path(__file__).resolve().parent / "cases"
HELMS = (3, 4)

RELEASE = "mail"
NAMESPACE = "post"


def tools() -> pathlib.Path:
    """The folder of the tools, which `run` has had fetched."""
    folder = os.environ.get("ROOKERY_CHART_TOOLS")
    if not folder:
        raise AssertionError("ROOKERY_CHART_TOOLS is not set: start the tests by tests/chart/run")
    return pathlib.Path(folder)


def helm(version: int, *arguments: str) -> subprocess.CompletedProcess:
    """Runs Helm; the caller looks at how it ended."""
    command = [str(tools() / f"helm{version}"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def arguments_of(values: tuple[pathlib.Path, ...], settings: tuple[str, ...]) -> list[str]:
    """Helm's arguments for files of values and single ones, such as `mailstore.replicas=5`."""
    given = [part for path in values for part in ("--values", str(path))]
    return given + [part for setting in settings for part in ("--set", setting)]


@functools.lru_cache(maxsize=None)
def render_text(values: tuple[pathlib.Path, ...], settings: tuple[str, ...] = (), version: int = 4) -> str:
    """All manifests of a release, hooks and tests among them."""
    made = helm(version, "template", RELEASE, str(CHART), "--namespace", NAMESPACE, *arguments_of(values, settings))
    if made.returncode != 0:
        raise AssertionError(f"Helm {version} does not render {values} {settings}:\n{made.stderr}")
    return made.stdout


def render(values: tuple[pathlib.Path, ...], settings: tuple[str, ...] = (), version: int = 4) -> list[dict]:
    """The same as objects."""
    return [document for document in yaml.safe_load_all(render_text(values, settings, version)) if document]


def cases() -> dict[str, tuple[pathlib.Path, ...]]:
    """Values that the chart is tested with, by name: the two examples, and those of the tests laid over one of them."""
    found = {path.stem: (path,) for path in sorted(CHART.glob("values-*.yaml"))}
    for path in sorted(CASES.glob("*.yaml")):
        base = "values-single.yaml" if path.stem.startswith("single") else "values-cluster.yaml"
        found[path.stem] = (CHART / base, path)
    return found


def pod_of(document: dict) -> dict | None:
    """The pod template of an object, as `{metadata, spec}`, if it has one."""
    if document["kind"] == "Pod":
        return document
    if document["kind"] in ("Deployment", "StatefulSet", "Job"):
        return document["spec"]["template"]
    return None


def find(documents: list[dict], kind: str, name: str) -> dict:
    """One object."""
    found = [one for one in documents if one["kind"] == kind and one["metadata"]["name"] == name]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} objects are a {kind} {name}")
    return found[0]


def configuration_keys() -> dict[str, set[str]]:
    """The keys of each section of the program's configuration, as it tells them itself."""
    known, section = {}, ""
    for line in (ROOT / "docs/reference/configuration.md").read_text().splitlines():
        if heading := re.match(r"## `\[+([a-z.]+)\]+`$", line):
            section = heading[1]
        elif row := re.match(r"\| `(\w+)` \|", line):
            known.setdefault(section, set()).add(row[1])
    return known
