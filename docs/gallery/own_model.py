# %% [markdown]
# # Your own model: from a trained classifier to a table
#
# A classifier of handwritten digits has seen the digits 0 to 7. The digits 8 and 9 are *out of distribution* (OOD) for
# it: they look alike, and it knows no class for them. How well do detectors over this classifier notice that, and do
# they still when somebody changes the images to get past them?
#
# First the classifier. It stands for yours: any `torch.nn.Module` from images to logits will do.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import oodbench

digits = load_digits()
pixels = (digits.images / 16 * 255).round().astype(np.uint8)  # 8 x 8 grey levels
images = np.repeat(
    pixels[..., None], 3, axis=3
)  # (N, 8, 8, 3): colour images, as oodbench takes them
known = digits.target < 8
test = np.arange(len(images)) % 3 == 0

torch.manual_seed(0)
module = nn.Sequential(
    nn.Conv2d(3, 32, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(512, 64),
    nn.ReLU(),
    nn.Linear(64, 8),
)
x = torch.from_numpy(images[known & ~test]).permute(0, 3, 1, 2).float() / 255
y = torch.from_numpy(digits.target[known & ~test])
optimizer = torch.optim.Adam(module.parameters(), 0.003)
for _ in range(60):
    optimizer.zero_grad()
    nn.functional.cross_entropy(module(x), y).backward()
    optimizer.step()
module.eval()
print(
    f"loss on its {len(x)} training images: {nn.functional.cross_entropy(module(x), y).item():.3f}"
)

# %% [markdown]
# One call fits three detectors, scores them on two sets of OOD images, and attacks the images of each set: every pixel
# may change by 32 of 255 grey levels. `linf-adaptive` climbs the score of the very detector that it wants to pass; its
# level `quick` is enough for a first look.

# %%
noise = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
frame = oodbench.benchmark(
    module,
    (
        images[known & test],
        digits.target[known & test],
    ),  # test images of the known classes, with labels
    {"8 and 9": images[~known & test][:60], "noise": noise},
    detectors=["msp", "energy", "knn"],
    train=(
        images[known & ~test],
        digits.target[known & ~test],
    ),  # for detectors that learn from them
    attack=oodbench.tasks.LinfAdaptive(epsilon=32, level="quick"),
)

# %% [markdown]
# The frame has a row for each detector, task, OOD set and metric. AUROC is the chance that an image of a known class
# scores above an OOD image: 100 % is perfect, 50 % is guessing.

# %%
auroc = frame[frame["metric"] == "auroc"].pivot_table(
    index="detector", columns=["ood", "task"], values="value"
)
print((100 * auroc).round(1).to_string())
accuracy = frame.loc[frame["metric"] == "accuracy", "value"].iloc[0]
print(f"\naccuracy of the classifier on the known digits: {accuracy:.1%}")

# %% [markdown]
# A warning above the table, if there is one, says what makes a figure doubtful, and by how much: [was it a fair
# attack?](../guides/attacks.md) explains each kind. The same as a picture:

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
for axis, ood in zip(axes, ["8 and 9", "noise"], strict=True):
    (100 * auroc[ood][["clean", "linf-adaptive"]]).plot.bar(
        ax=axis, title=ood, rot=0, legend=axis is axes[0]
    )
    axis.axhline(50, color="grey", linestyle=":")
    axis.set(xlabel="", ylabel="AUROC in percent", ylim=(0, 100))
figure.savefig("clean-and-attacked.svg")

# %% [markdown]
# [Your model](../guides/your-model.md) says what a module may return, how its normalisation is told, and how the same
# goes on the command line. [Which detector?](../choosing.md) compares all of them on photographs.
