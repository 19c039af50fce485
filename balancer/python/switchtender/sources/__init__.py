"""Where documents come from. Knows how to read and watch; not what the documents mean."""
