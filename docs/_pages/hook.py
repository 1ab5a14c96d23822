"""What mkdocs calls: it puts the written pages beside those that lie in docs/."""

from itertools import chain

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from docs._pages import choosing, defects, detectors, gallery, images, suites, tasks
from docs._pages.page import Page
from oodbench.registry import discover


def written() -> list[Page]:
    """Every page that is written here, in the order of the navigation."""
    registry = discover()
    about = [detectors.pages(registry), suites.pages(), tasks.pages(), images.pages(), choosing.pages(registry)]
    return [*chain(*about, defects.pages(registry), gallery.pages())]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is written, and name in the navigation what stands under a heading of its own."""
    found = written()
    for page in found:
        files.append(File.generated(config, page.path, content=page.content))
    _fill(config.nav or [], found)
    return files


def _fill(navigation: list[object], found: list[Page]) -> None:
    """Replace "FOLDER/" in the navigation by the pages in that folder."""
    for entry in navigation:
        if isinstance(entry, dict):
            for title, inside in entry.items():
                if isinstance(inside, str) and inside.endswith("/"):
                    entry[title] = [
                        {page.title: page.path} for page in found if page.title and page.path.startswith(inside)
                    ]
                elif isinstance(inside, list):
                    _fill(inside, found)
