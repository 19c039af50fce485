"""What is run against the product from outside: the demonstration, the simulator's home, the judges."""
