"""What is rendered is what was looked at: a change shows in `golden/`. After looking: `tests/chart/run --bless`."""

import difflib
import os
import pathlib
import re
import unittest

import chart

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"


def looked_at(values) -> str:
    """What is rendered, without the text of dashboards, which is looked at where it is made."""
    return re.sub(r"(?m)^(  [a-z-]+\.json: \|)\n(?:    .*\n|\n)+", r"\1 …\n", chart.render_text(values))


class Golden(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if os.environ.get("ROOKERY_CHART_BLESS") != "1":
            return
        for path in GOLDEN.glob("*.yaml"):
            path.unlink()
        for name, values in chart.cases().items():
            (GOLDEN / f"{name}.yaml").write_text(looked_at(values))

    def test_renders_are_as_they_were(self):
        for name, values in chart.cases().items():
            with self.subTest(values=name):
                text = looked_at(values)
                held = (GOLDEN / f"{name}.yaml").read_text()
                if text != held:
                    lines = difflib.unified_diff(held.splitlines(), text.splitlines(), "golden", "rendered", lineterm="")
                    self.fail("\n".join(list(lines)[:80]) + "\nif this is right: tests/chart/run --bless")

    def test_there_is_one_for_each_case(self):
        self.assertEqual({path.stem for path in GOLDEN.glob("*.yaml")}, set(chart.cases()))


if __name__ == "__main__":
    unittest.main()
