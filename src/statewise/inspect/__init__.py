"""Looking inside: what a state remembers, and what a cell can learn to remember."""
