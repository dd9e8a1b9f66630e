"""Settings: one file, every deployment difference an environment variable (see .env.example).

Without DATABASE_URL and REDIS_URL the embedded servers are meant, whose sockets lie in the data
folder. Reading this file starts nothing.
"""

from pathlib import Path

import django_stubs_ext
from csp.constants import NONE, SELF

from mirage_web import embedded, env

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
MIRAGE_DATA_DIR = env.folder("MIRAGE_DATA_DIR", default=BASE_DIR / "var")
EMBEDDED = embedded.wanted()
DEBUG = env.boolean("MIRAGE_DEBUG", default=False)

# Keys. With servers of one's own they must be given; the embedded mode makes and keeps them.
_KEYS = MIRAGE_DATA_DIR / "keys"
SECRET_KEY = env.secret("SECRET_KEY", kept_in=_KEYS / "secret" if EMBEDDED else None)
MIRAGE_IDENTIFIER_KEY = env.secret(
    "MIRAGE_IDENTIFIER_KEY", kept_in=_KEYS / "identifier" if EMBEDDED else None
)
SECRET_KEY_FALLBACKS = env.words("SECRET_KEY_FALLBACKS", default=())

ALLOWED_HOSTS = env.words(
    "ALLOWED_HOSTS", default=("127.0.0.1", "localhost", "[::1]") if EMBEDDED else None
)
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS", default=())

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "csp",
    "mirage_web",
    "apps.jobs",
    "apps.accounts",
    "apps.patients",
    "apps.registry",
    "apps.inference",
    "apps.review",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "mirage_web.middleware.keep_pages_out_of_caches",
    "mirage_web.middleware.refuse_large_bodies",  # before any of the body is read
]
ROOT_URLCONF = "mirage_web.urls"
WSGI_APPLICATION = "mirage_web.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "mirage_web.context.site",
            ],
        },
    }
]

# Database. A connection that hangs must not hang a page.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        **(embedded.database(MIRAGE_DATA_DIR) if EMBEDDED else env.database("DATABASE_URL")),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }
}
DATABASES["default"].setdefault("OPTIONS", {})
DATABASES["default"]["OPTIONS"] |= {"connect_timeout": 3}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Accounts and sessions
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["apps.accounts.backends.ThrottledBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "accounts:sign-in"
LOGIN_REDIRECT_URL = "patients:cohorts"
LOGOUT_REDIRECT_URL = LOGIN_URL
SESSION_COOKIE_AGE = 15 * 60  # idle, because every request renews it
SESSION_SAVE_EVERY_REQUEST = True
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True

# Transport. Off for the embedded mode alone, which serves 127.0.0.1 without TLS.
_HTTPS = env.boolean("MIRAGE_HTTPS", default=not EMBEDDED)
SESSION_COOKIE_SECURE = _HTTPS
CSRF_COOKIE_SECURE = _HTTPS
SECURE_SSL_REDIRECT = _HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]  # probes inside the network speak http
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if _HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = _HTTPS
SECURE_HSTS_PRELOAD = _HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],  # NiiVue draws from data URLs
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

# Uploads
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000
DATA_UPLOAD_MAX_NUMBER_FILES = 5
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 2**20
FILE_UPLOAD_MAX_MEMORY_SIZE = 2 * 2**20
FILE_UPLOAD_PERMISSIONS = 0o600
MIRAGE_ABANDONED_IMPORT_DAYS = env.number(
    "MIRAGE_ABANDONED_IMPORT_DAYS", default=14, low=1, high=3650
)
MIRAGE_MAX_REQUEST_BYTES = 257_000_000  # a file to import, and the form around it

# Files
MEDIA_ROOT = env.folder(
    "MEDIA_ROOT", default=MIRAGE_DATA_DIR / "media"
)  # never served by a URL of its own
MIRAGE_BUNDLES_DIR = env.folder("MIRAGE_BUNDLES_DIR", default=MIRAGE_DATA_DIR / "bundles")
STATIC_URL = "static/"
STATIC_ROOT = env.folder("STATIC_ROOT", default=MIRAGE_DATA_DIR / "static")
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

LANGUAGE_CODE = "en-gb"
TIME_ZONE = env.text("TIME_ZONE", default="UTC")
USE_TZ = True

# Jobs
MIRAGE_JOB_LEASE_S = env.number("MIRAGE_JOB_LEASE_S", default=15, low=1, high=86_400)
MIRAGE_JOB_RESEND_S = env.number("MIRAGE_JOB_RESEND_S", default=30, low=1, high=86_400)
MIRAGE_SWEEP_EVERY_S = env.number("MIRAGE_SWEEP_EVERY_S", default=3, low=0.2, high=60)
MIRAGE_TORCH_THREADS = int(env.number("MIRAGE_TORCH_THREADS", default=1, low=1, high=1024))
MIRAGE_TRAINING_DEVICE = env.choice("MIRAGE_TRAINING_DEVICE", default="cpu", of=("cpu", "cuda"))
MIRAGE_TRAINING_THREADS = int(env.number("MIRAGE_TRAINING_THREADS", default=1, low=1, high=1024))
MIRAGE_TRAINING_MEMORY_GB = env.number("MIRAGE_TRAINING_MEMORY_GB", default=16, low=1, high=65_536)
MIRAGE_WORKER_SILENT_S = 15  # after which a worker counts as gone
MIRAGE_HARD_LIMIT_S = 30 * 60  # of the longest task in the fast queues

CELERY_BROKER_URL = embedded.broker_url(MIRAGE_DATA_DIR) if EMBEDDED else env.text("REDIS_URL")
MIRAGE_BROKER_PROBE_URL = CELERY_BROKER_URL.replace("redis+socket://", "unix://")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker outlives any pause of the broker
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 1.1 * MIRAGE_HARD_LIMIT_S,
    # A message whose worker died comes back after about interval x throttle seconds.
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    "socket_connect_timeout": 1,
    "socket_timeout": 5,
    "retry_on_timeout": False,
    # Of a worker's queues the first one that holds something: what waits in the others can wait.
    "queue_order_strategy": "priority",
}
CELERY_TASK_PUBLISH_RETRY = False  # the row is kept; the sweep sends it when the broker is back
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True  # the row is the result
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_DEFAULT_QUEUE = "sweep"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 3
CELERY_WORKER_PROC_ALIVE_TIMEOUT = (
    60  # loading torch and a bundle takes longer than the default 4 s
)
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_ROUTES = {
    "apps.jobs.tasks.*": {"queue": "sweep"},
    "apps.inference.tasks.execute_run_task": {"queue": "surrogate"},
    "apps.inference.tasks.explain_task": {"queue": "surrogate"},
    "apps.inference.tasks.try_what_if_task": {"queue": "surrogate"},
    "apps.inference.tasks.forget_what_ifs_task": {"queue": "sweep"},
    "apps.inference.tasks.shadow_task": {"queue": "shadow"},
    "apps.inference.tasks.decode_pseudo_mri_task": {"queue": "decode"},
    "apps.review.tasks.*": {"queue": "decode"},
    "apps.registry.tasks.*": {"queue": "training"},
    "apps.patients.tasks.preprocess_scan_task": {"queue": "scan"},
    "apps.patients.tasks.*": {"queue": "import"},
}
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"  # in memory: every entry is an interval
CELERY_BEAT_SCHEDULE = {
    "sweep": {
        "task": "apps.jobs.tasks.sweep_task",
        "schedule": MIRAGE_SWEEP_EVERY_S,
        "options": {"expires": 2 * MIRAGE_SWEEP_EVERY_S},
    },
    "abandoned imports": {
        "task": "apps.patients.tasks.clean_up_imports_task",
        "schedule": 3600,
        "options": {"expires": 3600},
    },
    "old what-ifs": {
        "task": "apps.inference.tasks.forget_what_ifs_task",
        "schedule": 600,
        "options": {"expires": 600},
    },
    "heads of failed scans": {
        "task": "apps.patients.tasks.forget_heads_task",
        "schedule": 3600,
        "options": {"expires": 3600},
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"()": "mirage_web.logs.Formatter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        # One line a message would be 100,000 a day for the sweep alone.
        **{
            f"celery.{name}": {"level": "WARNING"}
            for name in ("beat", "app.trace", "worker.strategy")
        },
    },
}
