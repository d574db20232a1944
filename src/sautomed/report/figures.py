"""Figures as PNG and as data URLs, and the colours of their text and lines."""

from __future__ import annotations

import base64
from io import BytesIO

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

TEXT_COLOUR, GRID_COLOUR = "#26323d", "#d8dee4"


def figure_png(figure: Figure) -> bytes:
    """Draw a figure as PNG."""
    stream = BytesIO()
    FigureCanvasAgg(figure).print_png(stream)
    return stream.getvalue()


def image_url(image: bytes, kind: str = "png") -> str:
    """Return an encoded image as a data URL; `kind` is png or webp."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"
