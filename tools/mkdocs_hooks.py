"""Links of the pages to files beside docs/ work on a forge; a site built from docs/ alone names those files instead."""

from __future__ import annotations

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)[^)]*\)")


def on_page_markdown(markdown: str, page: Any, **others: Any) -> str:
    """Called by mkdocs with the text of each page; pages in a folder of docs/ may point to their neighbours with `../`."""
    if "/" in page.file.src_uri:
        return markdown
    return _OUTSIDE.sub(r"\1 (`\2`)", markdown)
