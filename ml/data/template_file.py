"""python -m ml.data.template_file FILE.nii: the MNI152 template as a file for a viewer.

The template lies inside nilearn's wheel (ICBM 152, 2009a, brain only); `make assets` writes it
once, on the 2 mm grid and not compressed, because a browser reads it as it is.
"""

import sys
from pathlib import Path

from ml.data.mri import grid, template, write_volume


def write_template(path: Path, spacing_mm: float = 2.0) -> None:
    """Write the template on a grid.

    Raises:
        UnknownSpacingError: there is no grid of this spacing.
    """
    on = grid(spacing_mm)
    draft = path.with_name(f"unfinished-{path.name}")
    write_volume(draft, template(on), on, synthetic=False, description="ICBM 152 2009a, by nilearn")
    draft.rename(path)


if __name__ == "__main__":
    write_template(Path(sys.argv[1]))
