"""A detector that writes into what all detectors are shown is given up, and the others have their own figures."""

import pytest

import oodbench as ood

HEAD = "from oodbench.detector import Detector\n\n\nclass Meddler(Detector):\n    name, paper = 'meddler', 'none'\n\n"
SCORE = "    def score_representation(self, representation):\n        return representation.features.sum(1)\n"

MEDDLERS = {
    "while scoring": """    def score_representation(self, representation):
        return representation.features.clamp_(max=0.05).sum(1)
""",
    "through an array": """    def score_representation(self, representation):
        array = representation.logits.numpy()
        array *= 0.5
        return representation.logits.amax(1)
""",
    "while learning": """    def observe(self, representation, labels):
        representation.features.mul_(0)

"""
    + SCORE,
    "into the weights, and failing": """    def settle(self):
        self.network.head.weight.data[0] = 0
        raise ValueError("after all")

"""
    + SCORE,
    "no numbers into the weights": """    def settle(self):
        self.network.head.weight.data[0] = float("nan")

"""
    + SCORE,
    "into the weights": """    def settle(self):
        self.network.head.weight.data[0] = 0

"""
    + SCORE,
}


@pytest.mark.parametrize("how", list(MEDDLERS))
def test_what_a_detector_writes_reaches_no_other(oodbench, tmp_path, how):
    plugin = tmp_path / "meddler.py"
    plugin.write_text(HEAD + MEDDLERS[how])
    on = ("run", "--suite", "digits", "--pretrained", "--only", "letters", "--limit", "40")
    beside = ("--detector", "meddler", "--detector", "msp", "--detector", "react", "--plugin", str(plugin))
    code, _, err = oodbench(*on, *beside, "--out", "together")
    assert code == 2
    assert "meddler writes into the images" in err or "meddler changes fc.weight of" in err or "after all" in err
    assert oodbench(*on, "--detector", "msp", "--detector", "react", "--out", "alone")[0] == 0
    values = [ood.load_results(folder).query("metric == 'auroc'") for folder in ("together", "alone")]
    together, alone = (frame.set_index("detector")["value"].to_dict() for frame in values)
    assert together == alone
    assert set(alone) == {"msp", "react"}
