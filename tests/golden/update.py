"""Write the golden messages again: ``python -m tests.golden.update`` from the project's root. Read the difference before you commit it."""

from .messages import golden, message_of
from .mistakes import MISTAKES


def main() -> None:
    for mistake in MISTAKES:
        golden(mistake.__name__).write_text(message_of(mistake))
    print(f"{len(MISTAKES)} texts written")


if __name__ == "__main__":  # pytest imports every module here to look for doctests
    main()
