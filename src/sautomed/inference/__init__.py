"""A trained model at work, on one volume or on many scans.

model.py         a trained model that takes scans: `sautomed.load`
segmenting.py    a volume through any model, slice by slice
volume_walk.py   a walk in the scan's own pixels, whose boxes can be replaced
percentiles.py   intensities of a scan in its own unit; intensity_check.py compares them with those of the training
view.py          a volume as a network sees it, and predictions back on its grid; resize.py and intensity.py convert
bundle.py        model folders; bundle_files.py their JSON files, bundle_weights.py their weights, bundle_trunk.py the
                 pretrained trunk that they name; model_card.py their page for people
shipped.py       models that come with the package, and their names; shipped_models/ their folders
memory.py        memory predicted from a header, and measured; memory_limits.py limits of containers and jobs; device.py
                 the device
preview.py       a label map drawn on its scan; preview_slice.py a slice of it, preview_marks.py the boxes in that
prompts/         FILE.prompts.json: what prompted each organ of each slice, and what a person gave
batch/           the verb `segment`: scans in, files out, whatever happens to single scans
"""
