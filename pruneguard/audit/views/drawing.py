"""What every drawing and every page here has in common: SVG inside HTML, without script, font or network."""

from pathlib import Path

from pruneguard.audit.views.markup import Content, Markup, tag

WIDTH = 860
STYLE = Path(__file__).with_name("report.css").read_text(encoding="utf-8")


def page(title: str, *content: Content) -> bytes:
    """A page that stands alone, in UTF-8; `content` is what its body holds."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src 'none'; form-action 'none'"
    head = tag(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title),
        tag("style", Markup(STYLE)),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', *content), lang='en')}\n".encode()


def figure(content: Markup, height: float, title: str, words: str) -> Markup:
    """A drawing WIDTH wide with its caption; `words` say how to read it."""
    label = "plot-" + "".join(c if c.isalnum() and c.isascii() else "-" for c in title.lower())
    drawing = tag(
        "svg",
        tag("title", title, id=label),
        content,
        viewBox=f"0 0 {WIDTH} {height:g}",
        role="group",
        aria_labelledby=label,
    )
    return tag("figure", tag("figcaption", tag("strong", title), ". ", words), drawing)


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    """A line of one of the kinds that the style sheet knows."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)
