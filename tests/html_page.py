"""Reads a report's HTML page as text, and checks what every page keeps to."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "input"}


@dataclass
class Page(HTMLParser):
    """What the tests ask of a page."""

    elements: list = field(default_factory=list)
    open_: list = field(default_factory=list)
    text: str = ""
    descriptions: list = field(default_factory=list)
    """Of figures, in words; a name a figure before its colon."""

    def __post_init__(self):
        super().__init__()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), tuple(self.open_)))
        if tag not in VOID:
            self.open_.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), tuple(self.open_)))

    def handle_endtag(self, tag):
        assert self.open_, tag
        assert self.open_.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open_:
            self.text += data
        if self.open_ and self.open_[-1] == "desc":
            self.descriptions.append(data)

    def of(self, tag):
        return [attributes for name, attributes, _ in self.elements if name == tag]


def read_page(path):
    """Read a page whose elements are closed, with its white space joined."""
    page = Page()
    page.feed(path.read_text())
    page.close()
    assert page.open_ == []
    page.text = " ".join(page.text.split())
    return page


def check_self_contained(path):
    """Check that a page refers to nothing outside it and runs nothing."""
    page = read_page(path)
    assert not page.of("script")
    for tag, attributes, _ in page.elements:
        assert not [key for key in attributes if key.startswith("on")], tag
        for key in ("src", "href"):
            target = attributes.get(key, "#")
            assert target.startswith(("#", "data:")), target
    text = path.read_text()
    assert text.count("url(") == text.count("url(#")
    assert "@import" not in text
    assert len(text.encode()) < 3e6


def check_fits(browser, path, width):
    """Check that a page is as wide as the window, with text and figures that can be read."""
    said, asked = [], []
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    wide = page.evaluate("document.documentElement.scrollWidth")
    images = page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth)")
    figures = page.evaluate(
        "[...document.querySelectorAll('figure svg[role=img]')]"
        ".map(s => s.getBoundingClientRect()).map(b => b.width * b.height)"
    )
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('svg text')]"
        ".map(t => [parseFloat(getComputedStyle(t).fontSize), t.getScreenCTM()])"
        ".map(([size, turned]) => size * Math.hypot(turned.a, turned.b)))"
    )
    page.close()
    assert wide == width
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert all(images)
    assert figures
    assert min(figures) > 10_000
    assert smallest >= 9
