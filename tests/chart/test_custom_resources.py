"""Certificates, issuers, monitors and rules fit the schemas of the operators that read them."""

import json
import os
import subprocess
import unittest

import chart
from test_kubernetes import CUSTOM


def complaints(documents: list[dict]) -> list[str]:
    """What the schemas have against them."""
    script = chart.ROOT / "tests/chart/custom_resources.mjs"
    made = subprocess.run(
        ["node", str(script)], input=json.dumps(documents), capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "ROOKERY_CHART_TOOLS": str(chart.tools())},
    )
    lines = made.stdout.splitlines()
    if made.returncode != 0 or lines[-1:] != [f"looked at {len(documents)}"]:
        raise AssertionError(f"the schemas cannot be asked (is node 20 there?):\n{made.stdout}{made.stderr}")
    return lines[:-1]


class CustomResources(unittest.TestCase):
    def test_they_fit_their_schemas(self):
        documents = [
            document
            for values in chart.cases().values()
            for document in chart.render(values)
            if document["apiVersion"] in CUSTOM
        ]
        kinds = {document["kind"] for document in documents}
        self.assertEqual(kinds, {"Certificate", "Issuer", "ServiceMonitor", "PrometheusRule"})
        self.assertEqual(complaints(documents), [])

    def test_one_that_does_not_fit_is_found(self):
        wrong = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "x"}, "spec": {}}
        self.assertEqual(len(complaints([wrong])), 1)


if __name__ == "__main__":
    unittest.main()
