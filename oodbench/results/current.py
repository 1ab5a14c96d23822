"""Which of several results of one name is the one that today's code would make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from oodbench.basics.errors import OodbenchError
from oodbench.suite import Suite
from oodbench.suitefiles import settings

if TYPE_CHECKING:
    from oodbench.detector import Detector


@dataclass(frozen=True)
class Today:
    """Code and suites as they are now.

    Attributes:
        detectors: by name.
        suites: by name.
    """

    detectors: Mapping[str, type[Detector]]
    suites: Mapping[str, Suite]

    def among(self, alike: pd.DataFrame) -> pd.DataFrame:
        """Of figures of one name, the one that today's code would make, or the newest where nobody can know.

        Args:
            alike: figures, with `current` saying whether the method's code is today's.

        Returns:
            Several of them where they are of several seeds, or of one age.
        """
        if len(alike) < 2 or alike["seed"].nunique() > 1:
            return alike
        left = _preferring(alike, alike["current"] != "no")
        fingerprint, parameters = self._made(left.iloc[0])
        if fingerprint:
            left = _preferring(left, left["suite_fingerprint"] == fingerprint)
            left = _preferring(left, left["parameters"].map(_parsed) == _parsed(parameters))
        return newest(left)

    def _made(self, figure: pd.Series[Any]) -> tuple[str, str]:
        """Fingerprint of the suite and parameters of the detector that the same run would have today, if known."""
        suite, name = self.suites.get(str(figure["suite"])), str(figure["detector"])
        if suite is None or name not in self.detectors:
            return "", ""
        detector = self.detectors[name]
        try:
            changes = [settings.parse(text) for text in settings.texts(str(figure["settings"]))]
            changed, (configured,) = settings.apply(changes, suite, [detector])
        except OodbenchError:
            return "", ""
        return changed.fingerprint, json.dumps(asdict(configured.parameters))


def newest(alike: pd.DataFrame) -> pd.DataFrame:
    """Of figures of one name those of the last date, whose code is today's if one's is."""
    left = _preferring(alike, alike["current"] != "no")
    return left[left["date"].astype(str) == left["date"].astype(str).max()]


def _preferring(figures: pd.DataFrame, which: pd.Series[bool]) -> pd.DataFrame:
    """Those that are preferred, if there are any."""
    return figures[which] if which.any() else figures


def _parsed(text: object) -> str:
    """JSON whose spelling says nothing."""
    try:
        return json.dumps(json.loads(str(text)), sort_keys=True)
    except ValueError:
        return str(text)
