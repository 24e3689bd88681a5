"""Making packages: keys, building, signing."""
