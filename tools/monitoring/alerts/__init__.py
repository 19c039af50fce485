"""The alerts, by what they are about. Each has a page in ``docs/runbooks`` and cases in ``tests/views/rules``."""
