"""Every value is documented, is in the schema, and every key of a role's configuration that a site may set is one of the program's."""

import json
import re
import unittest

import yaml

import chart

VALUES = chart.CHART / "values.yaml"


def leaves(values, path=()):
    """The paths of all values; a table without keys is a value itself, and so is one that is written in one line."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def documented(text: str) -> set[tuple[str, ...]]:
    """The paths of values that have a `# --` comment right before them."""
    found, stack, is_comment = set(), [], False
    for line in text.splitlines():
        key = re.match(r"^( *)([A-Za-z_]+):", line)
        if key:
            depth = len(key[1]) // 2
            stack = [*stack[:depth], key[2]]
            if is_comment:
                found.add(tuple(stack))
            is_comment = False
        elif line.lstrip().startswith("# -- "):
            is_comment = True
        elif not line.lstrip().startswith("#"):
            is_comment = False
    return found


class Values(unittest.TestCase):
    def test_each_is_documented(self):
        text = VALUES.read_text()
        said = documented(text)
        for path in leaves(yaml.safe_load(text)):
            # Of a table such as `resources` the comment stands before the table.
            parts = {path[:length] for length in range(1, len(path) + 1)}
            self.assertTrue(parts & said, f"{'.'.join(path)} has no `# --` comment")

    def test_each_is_in_the_schema_and_the_schema_has_no_other(self):
        schema = json.loads((chart.CHART / "values.schema.json").read_text())

        def compare(values, part, path):
            while "$ref" in part:
                part = schema["definitions"][part["$ref"].rpartition("/")[2]]
            properties = part.get("properties")
            if not isinstance(values, dict) or not properties:
                return
            self.assertIs(part.get("additionalProperties"), False, f"{path} may have unknown keys")
            self.assertLessEqual(set(values), set(properties), path)
            # Where nothing is set by default, the schema says what may be.
            if values and path not in ("$.directory.resources", "$.mailstore.resources", "$.proxy.resources"):
                self.assertEqual(set(values), set(properties) - {"global"}, path)
            for key, value in values.items():
                compare(value, properties[key], f"{path}.{key}")

        compare(yaml.safe_load(VALUES.read_text()), schema, "$")

    def test_each_configuration_key_is_the_programs(self):
        known = chart.configuration_keys()
        schema = json.loads((chart.CHART / "values.schema.json").read_text())["properties"]
        for role in ("directory", "mailstore", "proxy"):
            keys = schema[role]["properties"]["config"]["properties"]
            for key, part in keys.items():
                if "properties" in part:
                    self.assertLessEqual(set(part["properties"]), known[f"{role}.{key}"])
                else:
                    self.assertIn(key, known[role])


if __name__ == "__main__":
    unittest.main()
