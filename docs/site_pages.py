"""Pages of the site that lie outside of docs/, and links as they read in the repository.

Notebooks become pages with their saved outputs; nothing is executed. The Markdown links files as a
reader of the repository sees them. On the site, links to pages become links to these pages, and
links to other files become the names of the files.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[1]
# File of the repository -> page of the site.
OUTSIDE = {
    "README.md": "index.md",
    "config/README.md": "configuration.md",
    "benchmarks/README.md": "benchmarks.md",
    "csrc/README.md": "core.md",
}
NOTEBOOKS = {
    path.relative_to(ROOT).as_posix(): f"notebooks/{path.stem}.md"
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside of docs/."""
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    for source, page in NOTEBOOKS.items():
        resources = {"output_files_dir": page.removesuffix(".md").removeprefix("notebooks/")}
        text, found = MarkdownExporter().from_filename(str(ROOT / source), resources)
        files.append(File.generated(config, page, content=text))
        for name, content in found["outputs"].items():  # pictures
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links from paths in the repository to pages of the site."""
    outside = {**OUTSIDE, **NOTEBOOKS}
    source = next((s for s, p in outside.items() if p == page.file.src_uri), None)
    source = source or f"docs/{page.file.src_uri}"
    pages = {**{f"docs/{file.src_uri}": file.src_uri for file in files}, **outside}

    def rewritten(link: re.Match[str]) -> str:
        image, text, target, anchor = link[1], link[2], link[3], link[4] or ""
        if not target or "://" in target or target.startswith("mailto:"):
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path in pages:
            here = posixpath.dirname(page.file.src_uri)
            return f"{image}[{text}]({posixpath.relpath(pages[path], here or '.')}{anchor})"
        if (ROOT / path).exists():
            return text if path in text else f"{text} (`{path}`)"
        return link[0]  # mkdocs reports it as broken

    return _LINK.sub(rewritten, markdown)
