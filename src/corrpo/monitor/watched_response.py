"""What the monitor says of a response: token by token while it is written, and of all of it."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from corrpo.monitor.calibration import Calibration, Labelled
from corrpo.monitor.options import MonitorOptions
from corrpo.monitor.running_rho import Rho, RunningRho, response_rho, series_interval
from corrpo.statistics.coefficients import Array, midranks


@dataclass(frozen=True)
class Scored:
    """What the monitor says of a whole response.

    Attributes:
        tokens: how many were measured; the one that ends a response is not.
        rho: over all of them, with an interval; None if there is none.
        highest: the highest running rho; None if no window had one.
        lowest: the lowest.
        mean_entropy: bits; None of no token.
        flag: whether rho lies beyond the calibrated threshold; None without calibration or rho.
        running_flag: whether the running rho did at any token.
        flagged_at: number of the first token at which it did.
        entropy: bits of each token, float64 [tokens].
        strength: of each token, float64 [tokens].
    """

    tokens: int
    rho: Rho | None
    highest: float | None
    lowest: float | None
    mean_entropy: float | None
    flag: bool | None
    running_flag: bool | None
    flagged_at: int | None
    entropy: Array = field(repr=False, compare=False)
    strength: Array = field(repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """JSON-safe, without the values of each token."""
        return {
            "tokens": self.tokens,
            "rho": None if self.rho is None else asdict(self.rho),
            "highest": self.highest,
            "lowest": self.lowest,
            "mean_entropy": self.mean_entropy,
            "flag": self.flag,
            "running_flag": self.running_flag,
            "flagged_at": self.flagged_at,
        }

    def labelled(self, prompt: str, low: bool) -> Labelled:
        """The same for calibration."""
        value = None if self.rho is None else self.rho.value
        return Labelled(prompt, low, value, self.highest, self.lowest)


@dataclass(frozen=True)
class Watched:
    """One token as it was written.

    Attributes:
        token: its id.
        text: what the response's text gains by it; empty while a character is incomplete.
        entropy: bits.
        strength: gradient strength.
        rho: of the running window up to it, with an interval; None if it has none.
        flag: whether that lies beyond the calibrated threshold; None without calibration or rho.
        final: on the last token, the whole response.
    """

    token: int
    text: str
    entropy: float
    strength: float
    rho: Rho | None
    flag: bool | None
    final: Scored | None = None


@dataclass(frozen=True)
class Written:
    """A response that was written to a prompt: its text, without the token that ended it, and what it is."""

    text: str
    scored: Scored


class ResponseTrace:
    """The state of one response: window, peaks, and every value. Without a calibration there are no flags."""

    def __init__(self, options: MonitorOptions, calibration: Calibration | None):
        self.running = RunningRho(options.window, options.min_tokens)
        self.min_tokens, self.calibration = options.min_tokens, calibration
        self.entropy: list[float] = []
        self.strength: list[float] = []
        self.peaks: list[float] = []
        self.flagged_at: int | None = None
        self._value: float | None = None

    def push(self, entropy: float, strength: float) -> None:
        """Take one token."""
        self.running.push(entropy, strength)
        self.entropy.append(entropy)
        self.strength.append(strength)
        self._value = self.running.value
        if self._value is not None:
            self.peaks = [min([self._value, *self.peaks]), max([self._value, *self.peaks])]
        if self.flag and self.flagged_at is None:
            self.flagged_at = len(self.entropy) - 1

    @property
    def rho(self) -> Rho | None:
        """Of the window that ends with the last token."""
        return self.running.rho

    @property
    def flag(self) -> bool | None:
        """Whether that rho lies beyond the calibrated threshold; None without calibration or rho."""
        return self.calibration and self.calibration.beyond(self._value, self.calibration.running)

    def scored(self) -> Scored:
        """All of the response."""
        entropy, strength = np.array(self.entropy), np.array(self.strength)
        value, known = response_rho(entropy, strength, self.min_tokens), self.calibration
        rho = None
        if value is not None:
            ends = series_interval(value, midranks(entropy), midranks(strength))
            rho = Rho(value, *ends, tokens=len(entropy))
        lowest, highest = self.peaks or (None, None)
        return Scored(
            tokens=len(entropy),
            rho=rho,
            highest=highest,
            lowest=lowest,
            mean_entropy=float(entropy.mean()) if len(entropy) else None,
            flag=known and known.beyond(value, known.whole),
            running_flag=known and (None if highest is None else self.flagged_at is not None),
            flagged_at=self.flagged_at,
            entropy=entropy,
            strength=strength,
        )
