# %% [markdown]
# # A new detector: one file, scored and attacked beside the others
#
# A detector is a class with a name, a paper and a score. This one takes the gap between the two largest logits: a
# classifier that wavers between two classes may be looking at neither. Higher scores mean *in-distribution* (ID),
# always. The class goes into a file of its own; a notebook would write it with `%%writefile margin.py`.

# %%
import subprocess
from pathlib import Path

import oodbench

MARGIN = '''
"""Margin: the gap between the two largest logits."""

from oodbench.detector import Detector


class Margin(Detector):
    """The largest logit less the second largest."""

    name = "margin"
    paper = "nobody's yet"

    def score_representation(self, representation):
        first, second = representation.logits[:, : self.classes].double().topk(2).values.unbind(1)
        return first - second
'''
Path("margin.py").write_text(MARGIN)

# %% [markdown]
# `oodbench.run` takes the file as a plugin. The suite `digits-adv` holds handwritten digits against letters and three
# other sets, and its trained network comes with oodbench (`pretrained=True`). A score that has a gradient is attacked
# without another line: `linf-adaptive` climbs it, here in its quick form on a few of the letters.

# %%
frame = oodbench.run(
    "digits-adv",
    ["msp", "energy", "margin"],
    plugins=["margin.py"],
    tasks=["clean", "linf-adaptive"],
    parameters={"linf-adaptive.level": "quick"},
    only=["letters"],
    images=40,
    pretrained=True,
    jobs=1,
    say=lambda line: (
        None
    ),  # what is being done, line by line; print it in a notebook of yours
)
auroc = frame[frame["metric"] == "auroc"].pivot_table(
    index="detector", columns="task", values="value"
)
print((100 * auroc).round(1).to_string())

# %% [markdown]
# The same by command is `oodbench run --suite digits-adv --detector margin --plugin margin.py --pretrained`. Every
# image's score is kept in `results/`; tables, the report and figures such as this histogram are made from there:

# %%
plot = "oodbench plot results/ --kind hist --detector margin --plugin margin.py -o scores.svg"
subprocess.run(plot.split(), check=True, capture_output=True)

# %% [markdown]
# [Add a detector](../guides/your-detector.md) goes on: detectors that learn from training images, that train networks
# of their own, or that need more than one pass; and the contract that every detector is tested against.
