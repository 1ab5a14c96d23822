"""The choice among several results of one name: the one that today's code would make."""

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

    def choose_current(self, alike: pd.DataFrame) -> pd.DataFrame:
        """Choose among figures of one name: the one that today's code would make, or the newest where nobody can know.

        Args:
            alike: figures, with `current` saying whether the method's code is today's.

        Returns:
            Several of them where they are of several seeds, or of one age.
        """
        if len(alike) < 2 or alike["seed"].nunique() > 1:
            return alike
        preferred = _prefer(alike, alike["current"] != "no")
        fingerprint, parameters = self._made_today(preferred.iloc[0])
        if fingerprint:
            preferred = _prefer(preferred, preferred["suite_fingerprint"] == fingerprint)
            preferred = _prefer(
                preferred, preferred["parameters"].map(_normalised_json) == _normalised_json(parameters)
            )
        return newest_figures(preferred)

    def _made_today(self, figure: pd.Series[Any]) -> tuple[str, str]:
        """Fingerprint of the suite and parameters of the detector that the same run would have today, if known."""
        suite, name = self.suites.get(str(figure["suite"])), str(figure["detector"])
        if suite is None or name not in self.detectors:
            return "", ""
        detector = self.detectors[name]
        try:
            changes = [settings.parse(text) for text in settings.texts(str(figure["settings"]))]
            suite_today, (configured,) = settings.apply(changes, suite, [detector])
        except OodbenchError:
            return "", ""
        return suite_today.fingerprint, json.dumps(asdict(configured.parameters))


def newest_figures(alike: pd.DataFrame) -> pd.DataFrame:
    """The figures of the last date among those of one name, with today's code where one has it."""
    preferred = _prefer(alike, alike["current"] != "no")
    return preferred[preferred["date"].astype(str) == preferred["date"].astype(str).max()]


def _prefer(figures: pd.DataFrame, is_preferred: pd.Series[bool]) -> pd.DataFrame:
    """The figures that are preferred; all of them if none is."""
    return figures[is_preferred] if is_preferred.any() else figures


def _normalised_json(text: object) -> str:
    """JSON whose spelling says nothing."""
    try:
        return json.dumps(json.loads(str(text)), sort_keys=True)
    except ValueError:
        return str(text)
