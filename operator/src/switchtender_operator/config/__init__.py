"""What the operator is told when it starts: flags and environment, checked."""
