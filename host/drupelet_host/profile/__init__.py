"""What a device measured of each operator, as a table and as a page."""
