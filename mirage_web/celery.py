"""The Celery application: which tasks go to which queue, and what a worker does as it starts."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mirage_web.settings")
app = Celery("mirage_web")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
