"""`drupelet top`: the live view of the fleet in a terminal.

Shows what `fleet` knows; must not talk to a broker itself.
"""
