"""Other people's pruning, at what its documentation recommends, behind one call each."""
