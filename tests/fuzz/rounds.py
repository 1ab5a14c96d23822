"""One round: some cases of one target from one seed, the first bad one made as small as it goes."""

from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.targets import TARGETS, copied

EXAMPLES = 20
"""Cases of one target that one seed stands for."""


def attempt(name: str, number: int, world: Path, folder: Path) -> str:
    """What was found, with the case that shows it; "" where nothing was.

    Args:
        name: of the target.
        number: the seed; the same one draws the same cases.
        world: what `tests.fuzz.example.make` made.
        folder: for copies of it; it must not exist.
    """
    tried, strategy = TARGETS[name]

    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(strategy)
    def one_round(case: object) -> None:
        with copied(world, folder):
            tried(folder, case)

    try:
        one_round()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        notes = "\n".join(getattr(error, "__notes__", []))
        return f"{type(error).__name__}: {error}\n{notes}"
    return ""


def seeds() -> list[tuple[str, int]]:
    """Target and seed of every round that once found something, as kept in seeds.txt."""
    lines = (Path(__file__).parent / "seeds.txt").read_text().splitlines()
    pairs = [line.split() for line in lines if line and not line.startswith("#")]
    return [(name, int(number)) for name, number in pairs]
