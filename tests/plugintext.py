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
