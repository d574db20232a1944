"""How sure a result is: signals of each slice, a predicted DSC of each organ, and what a person should look at.

values.py     the signals of a slice
signals.py    compute them from logits and boxes
pooling.py    collect them while a scan is segmented, and pool them over the slices
shape.py      size and pieces of organs, compared with the training cases
assess.py     the signals of a case
predictor.py  predict the DSC of an organ
review.py     what a person should look at

docs/confidence.md says what was tried, and how well it works.
"""
