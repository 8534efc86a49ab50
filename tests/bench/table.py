"""Both servers' figures side by side, as lines to look at and as a table of a document."""


def number(value):
    """With as many digits as say something."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"


def spread(held):
    """A median with its spread, which a single value has not."""
    if held["min"] == held["max"]:
        return number(held["median"])
    return f"{number(held['median'])} ({number(held['min'])}-{number(held['max'])})"


class Table:
    def __init__(self, pair, machine):
        self.pair, self.machine, self.figures, self.document = pair, machine, [], []

    def head(self):
        return [self.machine, *(f"{server.name}: {server.about}" for server in self.pair)]

    def add(self, row, reported):
        """The lines of a run; before the first one, what was measured where."""
        lines = [row.title] if self.document else [*self.head(), row.title]
        for place, figure in enumerate(row.figures):
            held = reported.get(figure.name)
            if held is None:
                raise SystemExit(f"{row.title}: the load tester does not tell {figure.name!r}, only {list(reported)}")
            held = figure.of(held)
            theirs, ours = held["servers"]
            ratio = held["ratio"]["median"] if held["ratio"] else None
            met = figure.is_met(ours["median"], ratio)
            verdict = {None: "", True: "met", False: "not met"}[met]
            times = number(ratio) if ratio is not None else "-"
            lines.append(f"  {figure.what + ', ' + figure.unit:32} {spread(theirs):>30} {spread(ours):>30} "
                         f"{times:>8} x   {figure.aim():12} {verdict}".rstrip())
            title = row.title if place == 0 else ""
            self.document.append(f"| {title} | {figure.what}, {figure.unit} | {spread(theirs)} | {spread(ours)} | {times} "
                                 f"| {figure.aim()} | {verdict} |")
            self.figures.append({"row": row.title, "figure": figure.what, "unit": figure.unit, "servers": [theirs, ours],
                                 "ratio": held["ratio"], "aim": figure.aim(), "met": met})
        return lines

    def lines(self):
        """As a document has it."""
        names = [server.name for server in self.pair]
        return [f"{self.machine}; " + "; ".join(f"{server.name}: {server.about}" for server in self.pair) + ".", "",
                f"| | | {names[0]} | {names[1]} | ratio | aim | |", "|---|---|---|---|---|---|---|", *self.document]


def write(path, tables):
    """Writes the part of a document that these tables are."""
    write_between(path, "bench", "\n\n".join("\n".join(one.lines()) for one in tables))


def write_between(path, name, text):
    """Writes the part of a document between the marks of that name anew."""
    begin, end = f"<!-- {name}: written by make {name} -->", f"<!-- {name}: end -->"
    with open(path, encoding="utf-8") as file:
        before, mark, rest = file.read().partition(begin)
    if not mark or end not in rest:
        raise SystemExit(f"{path} has no place for the tables: put {begin} and {end} there")
    with open(path, "w", encoding="utf-8") as file:
        file.write(before + begin + "\n" + text + "\n" + end + rest.partition(end)[2])
