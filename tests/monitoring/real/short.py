"""The rules as shipped, but quick. This is the only place at which a test changes them.

Each `for:` and each window is made short, so that a test sees in seconds what an operator is told after minutes. Expressions, thresholds, labels
and texts stay as they are.
"""

import copy
import re

import yaml

import outputs

FOR = "2s"
WINDOW = "10s"


def shipped() -> dict:
    """The rules' file as operators have it."""
    return yaml.safe_load(outputs.PLAIN_RULES.read_text())


def shortened() -> dict:
    """The same, quick."""
    made = copy.deepcopy(shipped())
    for group in made["groups"]:
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"\[\d+[mhd]\]", f"[{WINDOW}]", rule["expr"])
            if "for" in rule:
                rule["for"] = FOR
    return made
