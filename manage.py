#!/usr/bin/env python
"""Django's command line. Where no servers are given, a command gets the embedded ones."""

import os
import sys

from django.core.management import execute_from_command_line

from mirage_web import embedded

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mirage_web.settings")

if __name__ == "__main__":
    with embedded.for_command(sys.argv):
        execute_from_command_line(sys.argv)
