"""What setup.cfg cannot say: beside the packages that are found, the templates are one, and lie in templates/."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["fwfeed", "fwfeed.*"]), "fwfeed.templates"],
    package_dir={"fwfeed.templates": "templates"},
)
