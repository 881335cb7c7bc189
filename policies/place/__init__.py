"""On which nodes: one placement a file.

A placement gets one gang at a time and the nodes as the gangs before it left them. It places the gang whole, or refuses
it with every reason; it never refuses one that fits.
"""
