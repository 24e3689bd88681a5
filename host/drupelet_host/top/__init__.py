"""The fleet live in a terminal: `drupelet top`."""
