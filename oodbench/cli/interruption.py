"""The end of a command that Ctrl-C stops: needs no import, since it is also for Ctrl-C during the imports."""

INTERRUPTED = 130
"""Exit code of a command stopped by Ctrl-C, as shells have it."""

MESSAGE = "\noodbench: interrupted; what was finished is kept: give the same command again\n"


def is_interruption(error: BaseException) -> bool:
    """Return whether an error is Ctrl-C, or follows from it: extensions make an ImportError of it while they load."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        if isinstance(following, KeyboardInterrupt):
            return True
        seen.append(following)
        following = following.__cause__ or following.__context__
    return False
