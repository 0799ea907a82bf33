"""The strokes that the schematics are made of."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import schemdraw
from schemdraw import elements as elm
from schemdraw.segments import Segment, SegmentPoly

Point = tuple[float, float]
Align = Literal["left", "center", "right"]
Side = Literal["top", "bottom"]
RED, BLUE, GREY, PALE = "#b3261e", "#0b57d0", "#5f6368", "#e8f0fe"


class Clamp(elm.Element2Term):
    """A split-core clamp around a wire, with the arrow printed on its case."""

    def __init__(self, *, backwards: bool = False) -> None:
        super().__init__()
        self.segments.append(Segment([(0, 0), (1.2, 0)]))
        case = [(0.1, -0.42), (1.1, -0.42), (1.1, 0.42), (0.1, 0.42)]
        self.segments.append(SegmentPoly(case, fill=PALE, color=BLUE, lw=2, zorder=3))
        self.segments.append(Segment([(0, 0), (1.2, 0)], zorder=4))
        ends: list[Point] = [(0.2, 0.23), (1.0, 0.23)]
        arrow = ends[::-1] if backwards else ends
        self.segments.append(Segment(arrow, color=RED, lw=2.5, arrow="->", zorder=5))


class Sheet:
    """A drawing in the page's style, and the few strokes that it is made of."""

    def __init__(self) -> None:
        schemdraw.use("svg")
        schemdraw.svgconfig.text = "text"  # words stay words: they can be searched and tested
        elm.style(elm.STYLE_IEC)
        self.drawing = schemdraw.Drawing(show=False)
        self.drawing.config(
            unit=2.2, fontsize=12, lw=1.6, bgcolor="white", font="sans-serif", margin=0.4
        )

    def add(self, element: elm.Element) -> None:
        """Put a placed element on the sheet."""
        self.drawing.add(element)

    def wire(self, *points: Point, color: str = "black", dashed: bool = False) -> None:
        """Draw straight lines through the points."""
        for start, end in pairwise(points):
            style: Literal["--", "-"] = "--" if dashed else "-"
            self.add(elm.Line().at(start).to(end).color(color).linestyle(style))

    def text(
        self, at: Point, words: str, size: float = 11, align: Align = "left", color: str = "black"
    ) -> None:
        """Write words beside the circuit, centred on the height of the point."""
        middle = (at[0] - 0.1, at[1] - size / 65)  # labels come out a little high and right
        label = elm.Label().theta(0).at(middle)
        self.add(label.label(words, "center", 0, align, "center", fontsize=size, color=color))

    def part(
        self, part: elm.Element2Term, start: Point, end: Point, label: str = "", loc: Side = "top"
    ) -> None:
        """Put a two-pole part between two points."""
        placed = part.endpoints(start, end)
        self.add(placed.label(label, loc, fontsize=11) if label else placed)

    def dot(self, at: Point, color: str = "black") -> None:
        """Mark a connection."""
        self.add(elm.Dot().at(at).color(color))

    def ground(self, at: Point) -> None:
        """End a wire at ground."""
        self.add(elm.Ground().theta(0).at(at))

    def supply(self, at: Point, name: str) -> None:
        """End a wire at a supply."""
        self.add(elm.Vdd().theta(0).at(at).label(name, fontsize=11))

    def tag(self, at: Point, name: str, width: float = 1.3, *, leftwards: bool = False) -> None:
        """End a wire at a name that stands elsewhere too."""
        self.add(elm.Tag(width=width).theta(180 if leftwards else 0).at(at))
        shift = (width + 0.3) / 2
        x = at[0] - shift if leftwards else at[0] + shift
        self.text((x, at[1]), name, align="center")

    def box(self, corner: Point, size: Point, lines: Sequence[str], fill: str = "white") -> None:
        """Draw a named box with its lower left corner at `corner`."""
        (x, y), (width, height) = corner, size
        frame = elm.Rect(corner1=(0, 0), corner2=size)
        self.add(frame.theta(0).at(corner).fill(fill))
        for number, line in enumerate(lines):
            shift = (len(lines) - 1) / 2 - number
            self.text((x + width / 2, y + height / 2 + 0.5 * shift), line, align="center")
