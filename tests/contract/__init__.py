"""What the parts of the product agree on, held in files."""
