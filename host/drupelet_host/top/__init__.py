"""`drupelet top`: the live view of the fleet in a terminal.

Shows what `fleet` knows; must not import the client: a broker is reached through `fleet` alone.
"""
