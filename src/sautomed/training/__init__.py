"""Training of any system of this package.

train.py         the verb: a data set in, a run with a model folder out
plan.py          its request
checkpoints.py   their files, written whole
checkpoint_files.py  which of them there are, and which one to resume from
stopping.py      stop on a signal, with a checkpoint
prepared_fold.py cases of the fold, resolved settings
prepare.py       slices resized and scaled once, memory-mapped
classes.py       does every class occur in the training cases?
slice_runs.py    examples: runs of consecutive slices
augment*.py      their augmentation, ours and that of other systems
fit.py           the loop: Lightning with our examples, checkpoints and log
learner.py       Lightning module around any Segmenter
budget.py        steps, or seconds of a clock
ranks.py         the processes that train together: how many, which is this one
meeting.py       wait until all have come, or one is lost
rank_group.py    start them, join them, agree with them
lightning_ranks.py  what Lightning needs for them
optimization.py  optimiser, weight decay, averaged weights
validation.py    DSC at the network's resolution
log.py           log.csv and the learning curve
write_model.py   the model folder and its scores
"""
