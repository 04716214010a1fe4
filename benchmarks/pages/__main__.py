"""Fills the tables of every page, and draws."""

from benchmarks.pages import drawn, filled, pages


def main() -> None:
    """Write the pages and drawings that are not those of the results."""
    for drawing, made in drawn().items():
        drawing.write_text(made, encoding="utf-8")
    for page in pages():
        text = page.read_text(encoding="utf-8")
        made = filled(text)
        if made != text:
            page.write_text(made, encoding="utf-8")
            print(page)


if __name__ == "__main__":
    main()
