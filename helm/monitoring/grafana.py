"""What a dashboard is made of: rows of panels, each with queries, a unit and thresholds, as Grafana's JSON.

Expressions are written without the labels by which a reader chooses what to see; those are put into every selector here.
"""

import dataclasses
import re

# Of Grafana 11.6; later versions read it and bring it up to date.
SCHEMA_VERSION = 41

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# Of these the program's metrics have `job` and `instance` wherever they are read; `namespace` in Kubernetes alone.
CHOSEN = 'namespace=~"$namespace",job=~"$job",instance=~"$instance"'

_SELECTOR = re.compile(r"\b(rookery_[a-z_]+|up)\b(?:\{([^}]*)\})?")
_COLUMNS = 24


@dataclasses.dataclass(frozen=True)
class Query:
    """An expression of PromQL, and what its series are called."""

    expression: str
    legend: str = "{{instance}}"

    def chosen(self) -> str:
        """The expression for what the reader has chosen."""
        def with_labels(found: re.Match) -> str:
            labels = f"{found[2]}," if found[2] else ""
            return f"{found[1]}{{{labels}{CHOSEN}}}"
        return _SELECTOR.sub(with_labels, self.expression)


@dataclasses.dataclass(frozen=True)
class Panel:
    """One picture. `warn` and `bad` are where it turns orange and red: from there on upwards, or `below` downwards."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    warn: float | None = None
    bad: float | None = None
    below: bool = False
    stacked: bool = False
    maximum: float | None = None

    def steps(self) -> list[dict]:
        """The thresholds in ascending order; the first holds from the lowest value on."""
        limits = [(self.warn, "orange"), (self.bad, "red")]
        given = [(value, colour) for value, colour in limits if value is not None]
        if not self.below:
            return [{"color": "green", "value": None}, *({"color": colour, "value": value} for value, colour in given)]
        given.sort()
        colours = [colour for _, colour in given] + ["green"]
        return [{"color": colour, "value": value} for colour, value in zip(colours, [None, *(value for value, _ in given)])]

    def json(self, number: int, x: int, y: int) -> dict:
        """As Grafana reads it."""
        defaults: dict = {"unit": self.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": self.steps()}}
        if self.maximum is not None:
            defaults["max"] = self.maximum
        if self.kind == "timeseries":
            has_limits = self.warn is not None or self.bad is not None
            defaults["color"] = {"mode": "palette-classic"}
            defaults["custom"] = {
                "drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": False,
                "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
                "thresholdsStyle": {"mode": "dashed" if has_limits else "off"},
            }
            options: dict = {
                "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        else:
            defaults["color"] = {"mode": "thresholds"}
            options = {
                "colorMode": "value", "graphMode": "area", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            }
        targets = [
            {"refId": chr(ord("A") + place), "datasource": DATASOURCE, "editorMode": "code", "range": True,
             "expr": query.chosen(), "legendFormat": query.legend}
            for place, query in enumerate(self.queries)
        ]
        return {
            "id": number, "type": self.kind, "title": self.title, "description": self.description, "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options, "targets": targets,
        }


@dataclasses.dataclass(frozen=True)
class Dashboard:
    """One page. Its `name` is the file's name and, behind `rookery-`, the uid by which links find it."""

    name: str
    title: str
    description: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]

    def json(self) -> dict:
        """As Grafana reads it."""
        return {
            "uid": f"rookery-{self.name}", "title": f"Rookery / {self.title}", "description": self.description,
            "tags": ["rookery"], "schemaVersion": SCHEMA_VERSION, "refresh": "30s", "editable": True, "graphTooltip": 1,
            "time": {"from": "now-3h", "to": "now"}, "timezone": "browser",
            "links": [{
                "type": "dashboards", "title": "Rookery", "tags": ["rookery"], "asDropdown": True, "icon": "external link",
                "includeVars": True, "keepTime": True, "targetBlank": False, "tooltip": "", "url": "",
            }],
            "annotations": {"list": []}, "templating": {"list": _variables()}, "panels": self._panels(),
        }

    def _panels(self) -> list[dict]:
        made, x, y, tallest = [], 0, 0, 0
        for title, panels in self.rows:
            y, x, tallest = y + tallest, 0, 0
            made.append({
                "id": len(made) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
                "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1},
            })
            y += 1
            for panel in panels:
                if x + panel.width > _COLUMNS:
                    y, x, tallest = y + tallest, 0, 0
                made.append(panel.json(len(made) + 1, x, y))
                x, tallest = x + panel.width, max(tallest, panel.height)
        return made


def _variables() -> list[dict]:
    def values(name: str, label: str, of: str, every: str | None) -> dict:
        query = f"label_values(rookery_process_resident_memory_bytes{of}, {name})"
        return {
            "name": name, "label": label, "type": "query", "datasource": DATASOURCE,
            "query": {"query": query, "refId": name}, "refresh": 2, "sort": 1, "multi": True, "includeAll": True,
            **({"allValue": every} if every else {}),
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]}, "options": [], "regex": "", "hide": 0,
        }
    return [
        {
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1, "regex": "",
            "multi": False, "includeAll": False, "current": {}, "options": [], "hide": 0,
        },
        # Outside Kubernetes there is none, and `.*` is what no label is, too.
        values("namespace", "Namespace", "", ".*"),
        # Without a value for all of them: `up` of other programs' jobs is not meant.
        values("job", "Job", '{namespace=~"$namespace"}', None),
        values("instance", "Node", '{namespace=~"$namespace",job=~"$job"}', ".*"),
    ]
