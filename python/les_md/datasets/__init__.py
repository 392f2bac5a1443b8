"""Public data sets that les-md is measured on: where they are, what they must be, how they become extended XYZ.

None of the data is part of les-md; `les-data` says where each set is and checks what a user has.
"""

from les_md.datasets.catalogue import DataFile, Dataset, dataset, datasets

__all__ = ["DataFile", "Dataset", "dataset", "datasets"]
