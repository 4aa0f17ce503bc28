"""Smaller models: pruned, clustered, trained for integers.

Importing this package imports neither TensorFlow nor TF-MOT. What takes a bridged model imports both: it belongs into a
child process, since TF-MOT changes the process it is imported into.
"""
