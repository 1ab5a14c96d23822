# %% [markdown]
# # Reading attacks: a figure, its doubt, and what to run next
#
# A detector looks robust if nobody attacked it well. This script attacks two detectors and reads what the harness says
# about its own attacks: *MSP*, the softmax of a plain classifier, and *ATOM*, which trained with attacked outliers.
# Their networks come with oodbench; the images are handwritten digits against letters.
#
# `linf` is the attack of the paper that introduced ATOM: 40 steps, each pixel within 32 of 255 levels.

# %%
import subprocess
import textwrap

import matplotlib.pyplot as plt

import oodbench


def run(**more):
    """Results of both detectors on 40 of the letters, as a data frame."""
    quiet = {"jobs": 1, "say": lambda line: None}
    return oodbench.run(
        "digits-adv",
        ["msp", "atom"],
        only=["letters"],
        images=40,
        pretrained=True,
        **more,
        **quiet,
    )


def command(line):
    """What a command prints."""
    return subprocess.run(
        line.split(), check=True, capture_output=True, text=True
    ).stdout


run(tasks=["clean", "linf"])
print(command("oodbench table results/ --metric auroc"))

# %% [markdown]
# A mark beside a figure is a doubt that was measured: `†` of a point at most, `‡` of more. After every attack a few
# images are climbed on for 200 steps more, and what that still finds is what the attack missed. Behind each mark stands
# a **FLAG**, which says what was seen, how far the figure may be off, and what to run next:

# %%
for line in command("oodbench table results/ --metric auroc --long").splitlines():
    if "FLAG" in line:
        print(textwrap.fill(line, 100), end="\n\n")

# %% [markdown]
# [Was it a fair attack?](../guides/attacks.md) explains every flag. Here the advice is followed: `linf-adaptive` climbs
# the score of the detector itself, from several starts and by several methods, and keeps for each image the best that
# was found. It is the figure to believe; here in its quick form.

# %%
run(tasks=["linf-adaptive"], parameters={"linf-adaptive.level": "quick"})
print(command("oodbench table results/ --metric auroc"))

# %% [markdown]
# One radius says little. A curve over radii shows where a detector breaks, and it must fall: where it rises, the attack
# and not the detector is at fault.

# %%
curves = run(tasks=["clean", "linf"], radii=[8, 16, 32])
rows = curves[curves["metric"] == "auroc"].sort_values("epsilon")
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for name, own in rows.groupby("detector"):
    axis.plot(own["epsilon"], 100 * own["value"], marker="o", label=name)
axis.set(
    xlabel="radius in levels of 255; 0 is the clean image",
    ylabel="AUROC in percent",
    ylim=(0, 102),
)
axis.legend()
figure.savefig("over-the-radius.svg")
