"""What is rendered is what Kubernetes takes, from the oldest version that is supported to the newest that is known."""

import re
import unittest

import kubernetes_validate
import yaml

import chart

NEWEST = "1.37"
CUSTOM = ("cert-manager.io/v1", "monitoring.coreos.com/v1")


def oldest() -> str:
    """The oldest version that Chart.yaml names."""
    said = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())["kubeVersion"]
    return re.fullmatch(r">=(\d+\.\d+)\.0-0", said).group(1)


class Kubernetes(unittest.TestCase):
    def test_manifests_fit_the_schemas(self):
        for version in (oldest(), NEWEST):
            for name, values in chart.cases().items():
                for document in chart.render(values):
                    if document["apiVersion"] in CUSTOM:
                        continue
                    where = f"{name}: {document['kind']} {document['metadata']['name']}"
                    with self.subTest(kubernetes=version, document=where):
                        kubernetes_validate.validate(document, version, strict=True)

    def test_a_manifest_that_does_not_fit_is_found(self):
        wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"prots": []}}
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, NEWEST, strict=True)


if __name__ == "__main__":
    unittest.main()
