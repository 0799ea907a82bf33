"""The page of figures: what was measured is new, what was not stays."""

from typing import Any

from bench.__main__ import BEGIN, END, rewrite, table


def result(name: str, value: float) -> dict[str, Any]:
    limit = {"limit": 5, "bound": "max", "ok": value <= 5}
    figures = {"took_ms": value, "rows": 7.0}
    return {"name": name, "machine": {"cores": 2}, "figures": figures, "limits": {"took_ms": limit}}


def test_the_page_keeps_what_people_wrote() -> None:
    page = f"# P\n\nwords\n{BEGIN}\nold\n{END}\nafter\n"
    made = table(result("ingest", 4.0))
    assert (
        rewrite(page, [result("ingest", 4.0)]) == f"# P\n\nwords\n{BEGIN}\n{made}\n{END}\nafter\n"
    )
    assert rewrite("# P\n", [result("ingest", 4.0)]) == f"# P\n\n{BEGIN}\n{made}\n{END}\n"


def test_a_section_is_made_anew_and_the_rest_stays() -> None:
    page = rewrite("# Performance\n", [result("storage", 3.0), result("ingest", 4.0)])
    again = rewrite(page + "\nWhat follows.\n", [result("storage", 6.0)])
    assert again.startswith("# Performance\n")
    assert again.endswith("\nWhat follows.\n")
    assert again.count(BEGIN) == again.count(END) == 1
    assert again.index("### ingest") < again.index("### storage")
    assert "| took_ms | 4 | ≤ 5 ok |" in again
    assert "| took_ms | 6 | ≤ 5 **failed** |" in again
    assert "| took_ms | 3 |" not in again
    assert again.count("| rows | 7 |  |") == 2


def test_a_figure_with_two_bounds_shows_both() -> None:
    told = result("ingest", 4.0)
    told["limits"]["took_ms_min"] = {"limit": 1, "bound": "min", "ok": True}
    assert "| took_ms | 4 | ≤ 5 ok, ≥ 1 ok |" in table(told)


def test_of_hundreds_of_figures_the_page_has_those_with_a_limit() -> None:
    many = {f"figure_{number}": float(number) for number in range(150)}
    judged = {"figure_3": {"value": 3.0, "limit": 5, "bound": "max", "ok": True}}
    text = table({"name": "alpha", "machine": {}, "figures": many, "limits": judged})
    assert "| figure_3 | 3 | ≤ 5 ok |" in text
    assert "figure_4" not in text
    assert "149 further figures" in text
