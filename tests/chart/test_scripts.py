"""ShellCheck has no complaint about the chart's scripts and those that run its tests."""

import shutil
import subprocess
import unittest

import chart

FILES = chart.CHART / "files"


class Scripts(unittest.TestCase):
    def test_shellcheck_has_no_complaint(self):
        self.assertIsNotNone(shutil.which("shellcheck"), "shellcheck is missing: run .ci/install test")
        jobs = sorted(FILES.glob("*.sh"))
        self.assertIn(FILES / "cluster.sh", jobs)
        scripts = [chart.ROOT / "tests/chart/run", chart.ROOT / "tests/chart/tools"]
        for script in scripts:
            self.assert_clean(script.read_text(), str(script))
        for job in jobs:
            # As they are run: after what they share. Variables come from the job's environment.
            text = (FILES / "cluster.sh").read_text() + (job.read_text() if job.name != "cluster.sh" else "")
            self.assert_clean(text, str(job), "--exclude=SC2154,SC2153")

    def assert_clean(self, text: str, what: str, *options: str):
        made = subprocess.run(
            ["shellcheck", "--shell=bash", *options, "-"], input=text, capture_output=True, text=True, timeout=60, check=False
        )
        self.assertEqual((made.returncode, made.stdout), (0, ""), what)


if __name__ == "__main__":
    unittest.main()
