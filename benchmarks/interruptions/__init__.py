"""Parts of `interrupt.py`: commands that are stopped at random moments, and what must be left of them."""
