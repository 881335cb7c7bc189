"""Pure allocation policies: who goes next, on which nodes, and how much each."""
