"""A bundle on people set aside: asked for, computed, shown, downloaded."""
