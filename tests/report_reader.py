"""A browser that opens reports, and remembers what went wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pellucid.view.report import render


class Reader:
    """Opens reports in the browser and remembers everything that went wrong in them."""

    def __init__(self, browser: Any, folder: Path) -> None:
        self.browser, self.folder = browser, folder
        self.problems: list[str] = []
        self.requests: list[str] = []

    def open(
        self, data: dict[str, Any], size: tuple[int, int] = (1280, 800), scheme: str = "light", at: str = ""
    ) -> Any:
        """The page of `data` in a window of `size`, at the link `#at`, once it has drawn itself."""
        path = self.folder / "report.html"
        path.write_text(render(data), encoding="utf-8")
        context = self.browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        page = context.new_page()
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(path.as_uri() + (f"#{at}" if at else ""))
        page.wait_for_selector("html[data-ready]")
        return page
