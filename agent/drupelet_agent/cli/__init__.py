"""The `drupelet-agent` command: its parser and one file a command.

Must not be imported by any other folder.
"""
