"""One estimator against others on the same noise: ratios, and who wins where."""
