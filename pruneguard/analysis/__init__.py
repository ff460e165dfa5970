"""What an engineer wants to know before a search and beside it. Nothing here is recorded: an analysis is no evidence.

sensitivity   what each layer loses when only it is cut, at several ratios
ablation      what the network loses without one head, block, expert or group
sweep         recipes over ratios and seeds, and which of the results nothing else beats
controls      whether the recipe beats random pruning, training from scratch, and training the dense network longer

Each is measured into values (`to_document`, pure from there on), drawn by `pages`, and asked for with
`pruneguard analyse`.
"""
