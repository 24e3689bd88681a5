"""What was done to a model and what it cost, as JSON and as a page."""
