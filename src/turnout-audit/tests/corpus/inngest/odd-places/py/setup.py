from setuptools import setup

setup(
    name="inngest-migration",
    install_requires=["httpx", "inngest>=0.5"],
    extras_require={"e": ["inngest-encryption"]},
)
