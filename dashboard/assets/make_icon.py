"""Draws `icon.png`, the page icon: eight experts, a gate, one towers' output. Run once; the picture is committed."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

SIZE = 256
EXPERTS = ("#6C97F2", "#F0A04B", "#45C29A", "#DE74B1")


def draw() -> Image.Image:
    """A 256 x 256 picture."""
    image = Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle((8, 8, SIZE - 8, SIZE - 8), radius=56, fill="#17233A")
    for i, colour in enumerate(EXPERTS):
        y = 62 + i * 44
        pen.line((72, y, 184, 128), fill=colour, width=9)
        pen.ellipse((50, y - 20, 90, y + 20), fill=colour)
    pen.ellipse((154, 98, 214, 158), fill="#FFFFFF")
    return image


if __name__ == "__main__":
    draw().resize((128, 128), Image.Resampling.LANCZOS).save(Path(__file__).with_name("icon.png"))
