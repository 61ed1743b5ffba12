"""A task's images through a backbone: features of their evaluation views, and of other views where a method asks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.pixels.preprocess import View, middle_view, turned_view

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
ViewName = Literal["middle", "turned"]
Views = frozenset[ViewName]

OTHER_VIEWS: Mapping[ViewName, View] = {"middle": middle_view, "turned": turned_view}

OF_STATISTICS: Views = frozenset({"middle"})
"""What class statistics are made of, beside the evaluation view."""

OF_DRIFT: Views = frozenset({"turned"})
"""What drift maps are fitted on beside it: pictures of no class, which show how the rest of the space moves."""


@dataclass(frozen=True, eq=False)
class Seen:
    """Through one backbone: a row for each image in its evaluation view, and likewise in each other view by name."""

    features_ND: Floats
    others: Mapping[ViewName, Floats] = field(default_factory=dict)

    @property
    def of_statistics(self) -> list[Floats]:
        """The views that class statistics are made of, the evaluation view first."""
        return [self.features_ND, *(self.others[name] for name in sorted(OF_STATISTICS & self.others.keys()))]

    def only(self, names: Iterable[ViewName]) -> "Seen":
        """Without other views than these."""
        return Seen(self.features_ND, {name: self.others[name] for name in names if name in self.others})

    def cut(self, dimension: int) -> "Seen":
        """The first columns: the space of heads and statistics, behind which a tuner may put what is the aligner's."""
        others = {name: features_ND[:, :dimension] for name, features_ND in self.others.items()}
        return Seen(self.features_ND[:, :dimension], others)


@dataclass(frozen=True, eq=False)
class PairedFeatures:
    """The same images through the base's backbone and through the new one, row by row."""

    before: Seen
    after: Seen

    def of_drift(self, columns_N: Ints) -> tuple[Floats, Floats, Ints]:
        """Rows before and after, and each one's class column, in all views that a drift map is fitted on and both
        backbones were shown; `columns_N` are the images' classes.
        """
        names = sorted(OF_DRIFT & self.before.others.keys() & self.after.others.keys())
        old_ND, new_ND = (
            np.concatenate([seen.features_ND, *(seen.others[name] for name in names)])
            for seen in (self.before, self.after)
        )
        return old_ND, new_ND, np.tile(columns_N, 1 + len(names))
