from django.contrib.auth.views import LoginView, LogoutView

from apps.accounts.forms import SignInForm


class SignIn(LoginView):
    """The one page that a stranger sees."""

    template_name = "accounts/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True


class SignOut(LogoutView):
    """Ends the session; by POST alone."""
