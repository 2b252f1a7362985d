"""Records and a baseline in, findings out: whether a change made a sweep worse."""
