import base64
from io import BytesIO

from matplotlib.figure import Figure
from PIL import Image

from sautomed.report.figures import figure_png, image_url


def test_a_figure_is_a_png_of_its_size_and_a_data_url_holds_it():
    png = figure_png(Figure(figsize=(2, 1), dpi=50))
    assert Image.open(BytesIO(png)).size == (100, 50)
    head, _, encoded = image_url(png).partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(encoded) == png
    assert image_url(b"", "webp") == "data:image/webp;base64,"
