"""What runs on the far side of the boundary: the keeper, the fork server and what lives in a run.

Standard library only. Inside a cell this package is all there is of rlvr, so nothing here imports the host's modules.
"""
