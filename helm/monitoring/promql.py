"""Expressions that panels are made of. What appears only once it has happened is shown as 0 before."""

from grafana import Query

_WINDOW = "[$__rate_interval]"


def _of(name: str, where: str) -> str:
    return f"{name}{{{where}}}" if where else name


def _legend(by: str, prefix: str = "") -> str:
    return prefix + " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(",")) if by else prefix


def zero(expression: str) -> str:
    """The expression, or 0 when it has nothing to show."""
    return f"{expression} or on() vector(0)"


def per_second(counter: str, by: str = "instance", where: str = "", legend: str | None = None) -> Query:
    """How often something happens, summed up by labels; by none of them when `by` is empty."""
    summed = f"sum by ({by}) (rate({_of(counter, where)}{_WINDOW}))" if by else f"sum(rate({_of(counter, where)}{_WINDOW}))"
    return Query(zero(summed), _legend(by) if legend is None else legend)


def quantile(part: float, histogram: str, by: str = "", where: str = "", legend: str | None = None) -> Query:
    """Below what a part of all observations lies, of each value of the labels."""
    labels = f"le, {by}" if by else "le"
    buckets = f"sum by ({labels}) (rate({_of(histogram + '_bucket', where)}{_WINDOW}))"
    name = f"p{part * 100:g}"
    return Query(f"histogram_quantile({part}, {buckets})", _legend(by, f"{name} ") if legend is None else legend)


def median_and_p99(histogram: str, where: str = "") -> tuple[Query, ...]:
    """The usual and the slow ones."""
    return quantile(0.5, histogram, where=where, legend="p50"), quantile(0.99, histogram, where=where, legend="p99")


def part(counter: str, where: str, by: str = "instance", base: str = "", legend: str | None = None) -> Query:
    """What part of a counter's events (of those for which `base` holds) are those for which `where` holds too; 0 without events."""
    both = ",".join(one for one in (base, where) if one)
    some = f"sum by ({by}) (rate({_of(counter, both)}{_WINDOW}))"
    every = f"sum by ({by}) (rate({_of(counter, base)}{_WINDOW}))"
    return Query(zero(f"({some} or {every} * 0) / ({every} > 0)"), _legend(by) if legend is None else legend)


def total(gauge: str, by: str = "instance", where: str = "", legend: str | None = None) -> Query:
    """The sum of a gauge."""
    summed = f"sum by ({by}) ({_of(gauge, where)})" if by else f"sum({_of(gauge, where)})"
    return Query(zero(summed), _legend(by) if legend is None else legend)
