"""Pure: from the observed world to the sets, the status and the events that should be. No I/O, no clock of its own."""
