"""Many fits, one champion a segment. Ray is named in ``packing`` and ``schedule`` alone."""
