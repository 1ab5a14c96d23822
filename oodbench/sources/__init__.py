"""Image sets from where the public keeps them: what they are, how they are fetched, verified and read."""

from oodbench.sources.catalogue import SOURCES
from oodbench.sources.source import RemoteFile, Source

__all__ = ["SOURCES", "RemoteFile", "Source"]
