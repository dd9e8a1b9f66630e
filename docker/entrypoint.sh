#!/bin/sh
# What a container does, by its first word: prepare, web, worker ROLE, or any manage.py command.
set -eu

case "${1:-web}" in
  prepare)
    python manage.py migrate --noinput --skip-checks
    exec python manage.py register_bundle bundles/demo --deploy
    ;;
  web)
    exec gunicorn mirage_web.wsgi --bind 0.0.0.0:8000 --workers 2 --threads 4 \
      --worker-class gthread --preload --timeout 120 --no-control-socket
    ;;
  worker)
    exec python manage.py worker "$2" --name "$2-$(hostname)"
    ;;
  *)
    exec python manage.py "$@"
    ;;
esac
