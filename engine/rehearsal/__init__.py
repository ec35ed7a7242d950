"""What a mechanism would bring: the search run with and without it on a surrogate of the target, in its own process.

asking       the engine's side: starts the process, waits for its evidence, ends it
__main__     the process: reads the record, answers with the evidence
evidence     what is said in the end
effect       the effect with its interval, or why nothing can be said
simulation   one rehearsed search: the real Level 1 and the real chain in a drawn world
proposing    proposals as the model has made them so far
surrogate    the target as the trials show it
encoding     configurations as points

The engine itself imports `asking` and `evidence` alone: numpy and scikit-learn are for the process.
"""
