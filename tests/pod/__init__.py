"""What runs in the pods of nodes, as the samples ship it."""
