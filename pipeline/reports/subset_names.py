"""The name of a subset in reports, by what chose its images."""

_SERIES = {
    "full": "full data",
    "random": "random",
    "cv": "high-CV",
    "score": "high imported score",
    "score_low": "low imported score",
    "imported": "imported subset",
}
_ORDERS = {
    "deterministic": "",
    "interval": ", every n-th",
    "ccs": ", in strata (CCS)",
    "p1": ", drawn by P1",
    "p2": ", drawn by P2",
    "p3": ", drawn by P3",
}


def name_subset(measure: str, order: str) -> str:
    """Return how reports name the images that are chosen by `measure` in `order`."""
    if measure in ("full", "random", "imported"):  # the same images in any order
        return _SERIES[measure]
    return _SERIES.get(measure, measure) + _ORDERS[order]
