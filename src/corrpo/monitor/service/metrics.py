"""Counters of the service as Prometheus text, with labels from a fixed set."""

import os
from collections import Counter
from collections.abc import Mapping

BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class Metrics:
    """What the service counts. Used from the event loop alone."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.refused: Counter[str] = Counter()
        self.tokens = 0
        self.flagged = 0
        self._seconds: Counter[float] = Counter()
        self._total = 0.0
        self._count = 0

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self.requests[route, status] += 1
        self._count += 1
        self._total += seconds
        for bucket in BUCKETS:
            self._seconds[bucket] += seconds <= bucket

    def text(self, now: Mapping[str, float]) -> str:
        """Everything in the text format 0.0.4; `now` holds values of this moment by name."""
        lines = ["# TYPE corrpo_monitor_requests_total counter"]
        lines += [
            f'corrpo_monitor_requests_total{{route="{route}",status="{status}"}} {count}'
            for (route, status), count in sorted(self.requests.items())
        ]
        lines.append("# TYPE corrpo_monitor_refused_total counter")
        lines += [
            f'corrpo_monitor_refused_total{{reason="{reason}"}} {count}'
            for reason, count in sorted(self.refused.items())
        ]
        for name, value in (("tokens", self.tokens), ("flagged", self.flagged)):
            lines += [f"# TYPE corrpo_monitor_{name}_total counter", f"corrpo_monitor_{name}_total {value}"]
        lines.append("# TYPE corrpo_monitor_request_seconds histogram")
        ends = [*((f"{bucket:g}", self._seconds[bucket]) for bucket in BUCKETS), ("+Inf", self._count)]
        lines += [f'corrpo_monitor_request_seconds_bucket{{le="{end}"}} {count}' for end, count in ends]
        lines.append(f"corrpo_monitor_request_seconds_sum {self._total:.6f}")
        lines.append(f"corrpo_monitor_request_seconds_count {self._count}")
        for name, value in {**now, "resident_bytes": resident_bytes()}.items():
            lines += [f"# TYPE corrpo_monitor_{name} gauge", f"corrpo_monitor_{name} {value:g}"]
        return "\n".join(lines) + "\n"


def resident_bytes() -> int:
    """Memory of this process, as Linux tells it; 0 elsewhere."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
