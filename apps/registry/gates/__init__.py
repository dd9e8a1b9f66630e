"""People set aside, and bundles judged on them before they may answer."""
