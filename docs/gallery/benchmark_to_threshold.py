# %% [markdown]
# # From benchmark to threshold: a detector goes to work
#
# A benchmark says how well a score *can* tell images apart. At work there is one more decision: below which score is an
# image rejected? This script fits a detector, takes a threshold that comes with a promise, and then measures what the
# promise is worth on images that nobody has seen, on images of other kinds, and under attack.
#
# The network is one that comes with oodbench: it has learned handwritten digits. One command fits a detector on it and
# writes one file, which holds the network's weights as well.

# %%
import subprocess

import matplotlib.pyplot as plt
import numpy as np

import oodbench
from oodbench.images import builtin

fit = "oodbench fit --suite digits --detector energy --pretrained -o energy.ood"
print(subprocess.run(fit.split(), check=True, capture_output=True, text=True).stdout)

# %% [markdown]
# The file holds scores of images of digits that neither network nor detector has seen. A threshold is taken from these.
# The promise: of such images a share of 95 % is kept, whatever the distribution of the scores.

# %%
detector = oodbench.load_detector("energy.ood")
threshold = detector.threshold(keep=0.95)
print(f"reject what scores below {threshold.value:.2f}: {threshold.promise}")

# %% [markdown]
# What it does to the digits of the test set, and to images of four other kinds. A few of the letters are attacked too:
# each pixel may change by 32 of 255 levels, and the attack sees the score.

# %%
kinds = ["digits-test", "letters", "photo-patches", "smooth-noise", "uniform-noise"]
scores = {kind: detector(builtin.make(kind)) for kind in kinds}
for kind, own in scores.items():
    print(
        f"{kind:>14}: {threshold.rejects(own).mean():6.1%} of {len(own)} images rejected"
    )

frame = oodbench.evaluate(
    detector.detector,
    builtin.make("digits-test"),
    {"letters": builtin.make("letters").pixels(np.arange(40))},
    attack=oodbench.tasks.Linf(epsilon=32),
)
columns = ["task", "metric", "value", "n_id", "n_ood"]
print(frame[frame["metric"].isin(["auroc", "fpr95"])][columns].to_string(index=False))

# %% [markdown]
# The promise speaks of ID images and of nothing else. How many of the others are caught was measured just now, and may
# be other on other images; an attacker who sees the score gets past it, where the detector does not withstand attacks.

# %%
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
bins = np.histogram_bin_edges(np.concatenate(list(scores.values())), 50)
for kind in ["digits-test", "letters", "uniform-noise"]:
    axis.hist(scores[kind], bins, alpha=0.6, label=kind)
axis.axvline(threshold.value, color="black", linestyle="--", label="threshold")
axis.set(xlabel="score, higher = more in-distribution", ylabel="images")
axis.legend()
figure.savefig("scores-and-threshold.svg")

# %% [markdown]
# A p-value says the same of one image without a threshold: how large a share of unseen digits scores as low as this or
# lower.

# %%
for kind in ["digits-test", "letters"]:
    p = detector.p_values(scores[kind][:3])
    print(
        f"{kind:>14}: p-values of the first three images "
        + ", ".join(f"{value:.3f}" for value in p)
    )

# %% [markdown]
# [From benchmark to use](../guides/operating-points.md) goes on: false alarms among many images, promises with a
# probability, graphs for torch and ONNX. `oodbench threshold results/` says all this of every detector that was run.
