"""Who prunes best: the same dense networks for every side, and the same yardsticks for what comes of them."""
