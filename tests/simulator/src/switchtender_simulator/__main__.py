"""`python -m switchtender_simulator` is `switchtender-sim`."""

from switchtender_simulator.cli import main

if __name__ == "__main__":
    main()
