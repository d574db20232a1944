"""Spread the verbs `segment` and `study` over the cores, GPUs and machines of a Ray cluster.

connection.py    start a local Ray or join a cluster, with nothing sent elsewhere
signals.py       Ctrl-C and SIGTERM stay what they are while Ray is used
share.py         what each worker takes of a machine, and how many fit
crew.py          workers with one case at a time; the case of a lost worker goes to another
case_worker.py   the process that holds a model and segments cases
shared_folder.py the folders of a command, as other machines see them
segment.py       a plan of `segment`, carried out by a crew
study.py         the runs of a study, each a task

A worker does what the plain verbs do, with the same functions: the cases of a plan meet in their outputs, whose
CASE.json is written last, and the runs of a study in its folder. So a worker may be killed at any moment, and its work
done again.
"""
