"""The compiler and the client: what runs on a workstation."""
