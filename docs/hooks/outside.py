"""Links from the documentation to files beside it: they lead somewhere in the repository, not in the site."""

import re
from pathlib import Path
from typing import Any

_LINK = re.compile(r"\[[^\]]*\]\((?!\w+:|#)([^)#\s]+)\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """In place of a link to a file outside of the documentation, the file's path in the repository."""
    documentation = Path(config.docs_dir)
    folder = Path(page.file.abs_src_path).parent

    def in_the_site(link: re.Match[str]) -> str:
        target = (folder / link[1]).resolve()
        if target.is_relative_to(documentation):
            return link[0]
        return f"`{target.relative_to(documentation.parent).as_posix()}`"

    return _LINK.sub(in_the_site, markdown)
