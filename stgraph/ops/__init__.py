"""Pure functions on tensors: geometry, neighbour search, transforms.

Nothing is imported here, so that one operation can be used without loading the others; import the module that holds it,
for example ``from stgraph.ops.geodesy import local_plane``.
"""
