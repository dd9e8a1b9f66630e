from django.urls import path
from django.views.decorators.http import require_http_methods

from apps.accounts import views

app_name = "accounts"
urlpatterns = [
    path(
        "sign-in/",
        require_http_methods(["GET", "HEAD", "POST"])(views.SignIn.as_view()),
        name="sign-in",
    ),
    path("sign-out/", views.SignOut.as_view(), name="sign-out"),
]
