"""Settings of the site."""
INSTALLED_APPS = [
    "app.inngest.jobs",
    "inngest.django",
]
