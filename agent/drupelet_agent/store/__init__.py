"""Packages on the device's disk: staged, verified, activated, rolled back, collected."""
