"""Fills the tables of every page."""

from benchmarks.pages import filled, pages


def main() -> None:
    """Write the pages whose tables are not those of the results."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        made = filled(text)
        if made != text:
            page.write_text(made, encoding="utf-8")
            print(page)


if __name__ == "__main__":
    main()
