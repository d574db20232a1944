"""Systems that come in packages of their own: given our data and folds, run in a process of their own, scored by us."""
