"""Runs of the load tester: where it and the server are, how it is called, and what it reports."""
import json
import os
import subprocess
import tempfile

import servers

TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.expanduser("~/.cache/rookery/target"))
PROGRAM = os.environ.get("ROOKERY_LOADTEST_BIN", f"{TARGET}/release/rookery-loadtest")

ROOKERY = os.environ.get("ROOKERY_BIN", f"{TARGET}/release/rookery")


def environment():
    return {**os.environ, "ROOKERY_LOADTEST_PASSWORD": servers.PASSWORD}


def run(title, arguments):
    """The report of a run, whose errors end ours."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [PROGRAM, *map(str, arguments), "--json", report.name, "--quiet"]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{title}: {' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return json.load(report)


def rows(report):
    """The figures of all rounds by their names."""
    return {figure["name"]: figure for figure in report["rows"]}


def alone(title, workload, server, *arguments):
    """Medians by name of a workload on one server."""
    report = run(title, [workload, "--server", server, *arguments])
    return {name: figure["servers"][0]["median"] for name, figure in rows(report).items()}
