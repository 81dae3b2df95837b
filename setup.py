"Hands the dependency lists of settings.ini to setuptools; every other fact is in pyproject.toml."
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

config = ConfigParser()
config.read(Path(__file__).with_name("settings.ini"), encoding="utf-8")
lists = {name: config[name]["requirements"].split("\n")[1:] for name in ["DEFAULT", *config.sections()]}
core = lists.pop("DEFAULT")
lists["dev"] += lists["more"]
setup(install_requires=core, extras_require=lists)
