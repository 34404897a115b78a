"""The font of printed reports, which must hold Hangul and is embedded: Nanum Gothic (SIL Open Font License 1.1).

It comes by pip with the package `koreanize-matplotlib`, of which only the font files are read: it is never imported.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ple_model.errors import UserError

PACKAGE = "koreanize_matplotlib"
FILES = {"regular": "NanumGothic.ttf", "bold": "NanumGothicBold.ttf"}


def font_files() -> dict[str, Path]:
    """The files by weight. `UserError` that says what to install where they are not there."""
    spec = find_spec(PACKAGE)
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    found = {weight: Path(place) / "fonts" / name for place in places[:1] for weight, name in FILES.items()}
    if not found or not all(p.is_file() for p in found.values()):
        raise UserError("a PDF needs the font Nanum Gothic, which is not installed: pip install 'ple-scope[pdf]'")
    return found


@cache
def registered() -> tuple[str, str]:
    """(regular, bold): the names under which the PDF library knows them; read once a process."""
    from reportlab.pdfbase import pdfmetrics  # late: the PDF library
    from reportlab.pdfbase.ttfonts import TTFont  # late: the PDF library

    names = {weight: f"ReviewFont-{weight}" for weight in FILES}
    for weight, path in font_files().items():
        pdfmetrics.registerFont(TTFont(names[weight], str(path)))
    pdfmetrics.registerFontFamily(names["regular"], names["regular"], names["bold"], names["regular"], names["bold"])
    return names["regular"], names["bold"]
