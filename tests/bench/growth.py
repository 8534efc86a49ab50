"""What an operation costs as something grows: the figures of one row, and whether they stay as they are."""
import math

# What single figures differ by from run to run.
FLAT_MOST = 1.3
# Of the first value, with each doubling.
LOGARITHMIC_MOST = 0.1

RULE = (f"Flat: the last value is at most {FLAT_MOST:g} times the first; logarithmic: with each doubling comes at most a tenth of the "
        "first value; otherwise it grows.")


class Row:
    """An operation's figures by size; None where there is none at a size."""

    def __init__(self, name, unit, drawn=True):
        self.name, self.unit, self.drawn, self.values = name, unit, drawn, {}

    def measured(self, sizes):
        """Sizes and values that there are."""
        return [(size, self.values[size]) for size in sizes if self.values.get(size) is not None]

    def ratio(self, sizes):
        held = self.measured(sizes)
        return held[-1][1] / held[0][1] if len(held) > 1 and held[0][1] > 0 else None

    def verdict(self, sizes):
        ratio, held = self.ratio(sizes), self.measured(sizes)
        if ratio is None:
            return ""
        if ratio <= FLAT_MOST:
            return "flat"
        doublings = math.log2(held[-1][0] / held[0][0])
        return "logarithmic" if ratio <= 1 + LOGARITHMIC_MOST * doublings else "grows"


class Axis:
    """All rows over what grows; `note` says how it was measured."""

    def __init__(self, name, title, sizes):
        self.name, self.title, self.sizes, self.note, self.rows = name, title, list(sizes), "", {}

    def add(self, name, unit, size, value, drawn=True):
        row = self.rows.setdefault((name, unit), Row(name, unit, drawn))
        row.values[size] = value

    def reached(self):
        """Sizes that there is a figure for."""
        return [size for size in self.sizes if any(row.values.get(size) is not None for row in self.rows.values())]

    def figures(self):
        """For a file."""
        sizes = self.reached()
        return {"axis": self.name, "title": self.title, "note": self.note, "sizes": sizes, "rows": [
            {"name": row.name, "unit": row.unit, "values": [row.values.get(size) for size in sizes], "ratio": row.ratio(sizes),
             "verdict": row.verdict(sizes)} for row in self.rows.values()]}
