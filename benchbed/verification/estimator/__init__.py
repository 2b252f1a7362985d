"""An estimator held against its contract, and against exact gradients."""
