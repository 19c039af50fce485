"""The process: starts every part in order, follows signals and the file, stops gracefully. Knows all the others."""
