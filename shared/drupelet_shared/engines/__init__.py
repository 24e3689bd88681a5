"""The inference runtimes behind one interface; the host measures a variant in the very session the device creates."""
