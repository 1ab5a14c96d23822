"""Plugin files as people write them."""

METHOD = """
{imports}
from oodbench.detector import Detector


class Mine(Detector):
    '''A score for tests.'''

    name = "{name}"
    paper = "nobody, nowhere"

    def score_representation(self, representation):
        {body}
"""


def method(body, name="mine", imports=""):
    """The text of a plugin with one detector, whose score of a representation is `body`, a line."""
    return METHOD.format(imports=imports, name=name, body=body)


PLUGINS = """
import torch
from oodbench.detector import Detector


class Largest(Detector):
    '''The largest logit.'''

    name = "largest"
    paper = "nobody, nowhere"

    def score_representation(self, representation):
        return representation.logits.double().max(1).values


class Broken(Largest):
    '''Not a number for one image.'''

    name = "broken"

    def score_representation(self, representation):
        scores = super().score_representation(representation)
        return torch.where(torch.arange(len(scores)) == 3, torch.nan, scores)


class Constant(Largest):
    '''The same for all.'''

    name = "constant"

    def score_representation(self, representation):
        return 0 * super().score_representation(representation)


class Short(Largest):
    '''One score too few.'''

    name = "short"

    def score_representation(self, representation):
        return super().score_representation(representation)[1:]
"""
"""Four detectors, three of which break their word."""
