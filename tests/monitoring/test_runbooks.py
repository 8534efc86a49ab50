"""Each alert has a runbook and each runbook an alert; runbooks say what they should, and name only commands that exist."""

import re
import subprocess
import unittest

import outputs
from real.playground import program
from rules_in_test import alerts

RUNBOOKS = outputs.ROOT / "docs/runbooks"
PARTS = ["## See the cause", "## Mend it", "## When to worry"]
HEAD = "**What users notice:**"


def books() -> dict[str, str]:
    """The texts of all runbooks, by their files' names."""
    return {path.name: path.read_text() for path in sorted(RUNBOOKS.glob("*.md")) if path.name != "README.md"}


def commands(text: str) -> list[str]:
    """Commands of rookery: lines of code, and code among text."""
    blocks = re.findall(r"(?ms)^```\n(.*?)^```", text)
    lines = [line for block in blocks for line in block.splitlines()]
    code = re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```", "", text))
    said = [re.sub(r"^kubectl .* -- ", "", line).partition("#")[0].strip() for line in lines + code]
    return [line for line in said if line.startswith("rookery ")]


class Runbooks(unittest.TestCase):
    def test_each_alert_has_one_and_each_one_has_an_alert(self):
        named = {rule["annotations"]["runbook_url"] for rule in alerts().values()}
        self.assertEqual(named, {f"docs/runbooks/{name}" for name in books()})
        for alert, rule in alerts().items():
            name = rule["annotations"]["runbook_url"].rpartition("/")[2]
            self.assertEqual(books()[name].splitlines()[0], f"# {alert}")

    def test_each_has_all_parts(self):
        for name, text in books().items():
            with self.subTest(runbook=name):
                self.assertEqual([line for line in text.splitlines() if line.startswith("## ")], PARTS)
                self.assertEqual(text.count(HEAD), 1)
                self.assertIn("```", text.partition(PARTS[0])[2].partition(PARTS[1])[0], "no command shows the cause")
                self.assertIn("kubectl", text)

    def test_the_index_has_all_of_them_as_bad_as_they_are(self):
        rows = re.findall(r"(?m)^\| \[(\w+)\]\(([a-z-]+\.md)\) \| (\w+) \|", (RUNBOOKS / "README.md").read_text())
        wanted = [
            (alert, rule["annotations"]["runbook_url"].rpartition("/")[2], rule["labels"]["severity"])
            for alert, rule in alerts().items()
        ]
        self.assertEqual(rows, wanted)

    def test_links_lead_somewhere(self):
        for name, text in {**books(), "README.md": (RUNBOOKS / "README.md").read_text()}.items():
            for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
                with self.subTest(runbook=name, link=link):
                    self.assertTrue((RUNBOOKS / link).exists())

    def test_their_commands_are_the_programs(self):
        rookery, help_of = program(), {}
        for name, text in books().items():
            for command in commands(text):
                words = command.split()[1:]
                # The command is what stands before its arguments: small letters alone.
                path = tuple(re.match(r"(?:[a-z]+ )*", " ".join(words) + " ")[0].split())
                with self.subTest(runbook=name, command=command):
                    if path not in help_of:
                        made = subprocess.run(
                            [rookery, *path, "--help"], capture_output=True, text=True, timeout=20, check=False
                        )
                        self.assertEqual(made.returncode, 0, made.stderr)
                        help_of[path] = made.stdout
                    for option in (word.partition("=")[0] for word in words if word.startswith("--")):
                        self.assertTrue(option in help_of[path], f"rookery {' '.join(path)} has no {option}")


if __name__ == "__main__":
    unittest.main()
