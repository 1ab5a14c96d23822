"""What several commands share: options, and help that ends with examples."""

from collections.abc import Callable
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from oodbench.cli import completing
from oodbench.networks.precision import PRECISIONS
from oodbench.running.choices import AUTO, LARGEST_SEED

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
"""A function that becomes a command."""

OptionsT = TypeVar("OptionsT")
"""A frozen dataclass with a field for each argument and option of a command."""


class Examples(click.Command):
    """A command whose help ends with two lines that run as they stand, or more."""

    def __init__(self, *args: Any, examples: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words that were typed, of which none may be empty: that is a shell variable which was never set.

        Raises:
            click.UsageError: a word is empty.
        """
        if not (ctx.resilient_parsing or isinstance(self, click.Group)):
            for before, word in pairwise(["", *args]):
                if word == "" or (word.startswith("--") and word.endswith("=")):
                    name = word.removesuffix("=") or (before if before.startswith("-") else "a word")
                    raise click.UsageError(f"{name} is empty: say what it is to be, or leave it out", ctx)
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        formatter.write("Examples:\n" + "".join(f"  {example}\n" for example in self.examples))


class PipedError(Exception):
    """A pipe broke: `error` carried past click, which would end with exit code 1, that of a failed check."""

    def __init__(self, error: BrokenPipeError) -> None:
        super().__init__(str(error))
        self.error = error


class Group(Examples, click.Group):
    """The command itself."""

    def invoke(self, ctx: click.Context) -> Any:
        """Carry out the command that was typed.

        Raises:
            PipedError: a pipe broke on the way.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise PipedError(error) from error


def collect_into(kind: Callable[..., OptionsT]) -> Callable[[Callable[[OptionsT], None]], Callable[..., None]]:
    """Let a verb take all its options as one frozen dataclass, whose fields are called as click's parameters are.

    It stands below the options, directly above the function.
    """

    def decorate(verb: Callable[[OptionsT], None]) -> Callable[..., None]:
        @wraps(verb)
        def command(**options: Any) -> None:
            verb(kind(**options))

        return command

    return decorate


def typed(option: str) -> bool:
    """Return whether somebody typed this option of the command that is being carried out."""
    return click.get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE


def exclusive(one: str, other: str) -> None:
    """Refuse two options of the command that is being carried out where both are given.

    Raises:
        click.UsageError: both are given.
    """
    given = click.get_current_context().params
    if given[one] and given[other]:
        raise click.UsageError(f"--{one} and --{other} exclude each other: give one of them")


def several(
    option: str,
    parameter: str,
    metavar: str,
    names: completing.Completion,
    explanation: str,
    required: bool = False,
) -> Callable[[Decorated], Decorated]:
    """Return an option that may be given several times, whose names TAB completes.

    Args:
        option: as it is typed, such as "--task".
        parameter: of the function that gets all of them, a tuple.
        metavar: what stands for a name in the help.
        names: completes what was typed so far.
        explanation: the help.
        required: it must be given once at least.
    """
    return click.option(
        option, parameter, multiple=True, required=required, metavar=metavar, shell_complete=names, help=explanation
    )


results_argument = click.argument("results", type=click.Path(path_type=Path), default=Path("results"))
plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Python file that defines detectors; repeatable.",
)
data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path("data"),
    show_default=True,
    envvar="OODBENCH_DATA",
    show_envvar=True,
    help="Folder of image packs (HDF5).",
)


suite_option = click.option(
    "--suite", required=True, metavar="NAME|FILE", shell_complete=completing.suites, help="Suite by name or TOML file."
)
detectors_option = several(
    "--detector", "detectors", "NAME", completing.detectors, "Detector by name, or 'all'; repeatable.", required=True
)
network_option = click.option(
    "--network",
    metavar="NAME|FILE.py:BUILDER",
    shell_complete=completing.architectures,
    help="The network in place of the suite's: a name of `oodbench list networks` or of timm's, or what builds one of "
    "your own. --set network.mean=[...] says how images go into it.",
)
checkpoint_option = click.option(
    "--checkpoint",
    metavar="FILE|NAME",
    shell_complete=completing.networks,
    help="A trained network for every detector, instead of training: a file (FILE#NAME for one of several sets of "
    "weights in it), or a name of `oodbench data list`.",
)
pretrained_option = click.option(
    "--pretrained",
    is_flag=True,
    help="Score with the trained networks that come with oodbench, each if it is exactly what the run would train; "
    "train only the others.",
)
seed_option = click.option(
    "--seed",
    type=click.IntRange(0, LARGEST_SEED),
    default=1,
    show_default=True,
    help="Random seed of training and attacks.",
)
seeds_option = click.option(
    "--seeds", metavar="0-4|0,2,7", help="Several seeds in place of one: numbers and ranges, ends included."
)
device_option = click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:n]", help="Where networks run."
)
jobs_option = click.option(
    "--jobs",
    default=AUTO,
    show_default=True,
    metavar="N|auto",
    help="Processes of this machine that work side by side, to the same numbers; auto goes by cores, memory and work.",
)
shard_option = click.option(
    "--shard",
    metavar="I/N",
    help="Do only the I-th of N parts of the work, for SLURM arrays and CI matrices. The work of one suite, detector "
    "and seed is never divided, and detectors that share a network to be trained stay together.",
)
out_option = click.option(
    "--out", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Results folder."
)
limit_option = click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Use only N images of each set, training images included, evenly over the classes. Tables say that this was "
    "done.",
)
set_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change a parameter: epochs=1, atom.q=0.25, linf.steps=10; repeatable.",
)

precision_option = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="auto",
    show_default=True,
    help="Number format of training and mining. auto is bf16 on a GPU of this machine, float32 on a CPU and "
    "with --engine ray.",
)
tf32_option = click.option("--tf32", is_flag=True, help="Attack and score in TF32 on a GPU: faster, other rounding.")
compile_option = click.option(
    "--compile", "compiled", is_flag=True, help="Put networks through torch.compile; pays for itself on long runs."
)
builder_option = click.option(
    "--network",
    metavar="FILE.py:BUILDER",
    help="What builds the detector's network, where that is code of your own: what a file names is not run.",
)
replace_option = click.option("--replace", is_flag=True, help="Put the file in place of one that is there.")
checkpoints_option = click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A trained network that is not kept for everybody; repeatable.",
)
