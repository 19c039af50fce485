"""``python -m switchtender_operator``."""

from switchtender_operator.cli import main

if __name__ == "__main__":
    main()
