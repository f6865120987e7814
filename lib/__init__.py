"""What a single node of a network knows. A file directly in `lib/` is science; a folder is machinery.

Read in this order; the first three are the method, know arrays only and need nothing else.

snp         one node: its field, clipping, clusters, noise, signal-to-noise ratio, and the control with shuffled labels
heads       many nodes: what the heads of a transformer recognise, and whether that is more than chance
andc        which weights connect nodes that recognise a common label, and the masks it is compared with
sites       where nodes are: a place in a network, its name, recording what happens there, layers between two places
encoders    what transformers share: the sites of their nodes, the layers that are pruned, the read-out
cct, cnn    the networks: the paper's transformer, and a small convolutional one beside it
bert        a sentence encoder that comes trained, measured as the paper's transformer is
adapt       any other trained network made measurable, by naming places in it
probes      the read-out of a site, which turns activations into fields
measure     one forward pass over a set: class means of every node, accuracy of every probe
study       the measures of one network, kept in memory: what charts and explorers ask for
recipes     every section of a run's config.toml, checked
findings    what a run says about a claim, and how several verdicts are told together
claims      the paper's claims, each with its measure, its controls and the rule of its verdict
language_claim  the same for the extension to language

data        sets: what they share, images, sentences, where they come from, drawn characters, augmentation
training    of networks and probes: batches, one step, the loop, evaluation, stopping and going on
experiments what a run finds out, as tables: heads, pruning, retraining, smaller networks, a CNN's filters, trials
runs        a definition, its results in a folder, their record, the stages that make them; commands
charts      what the book draws        explorers    what the reader moves, in a page or live in Jupyter
system      files, devices, processes, time, errors: nothing of the science

Where something new goes. A measure: a function on arrays in `snp`, `heads` or `andc`; what needs a network too, in
`measure` or `experiments`. A network: a file like `cnn`, with `sites` and `width`; one that is trained elsewhere needs
`adapt` alone. A kind of data: a set in `data` that says how its things become `inputs`, and a source. A stage: a
function of a `Job` in `runs.stages`, whose files `runs.results` writes and reads. Imports point one way: each name
above imports only what stands on a lower layer, never in a circle (`tests/test_layout.py`).
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded: waiting threads leave the processor
