"""The checks of a machine, each of which tries what it speaks of."""

import json
import sys
from pathlib import Path

import pytest
from loopback import *  # noqa: F403

from engine.record.settings import Settings
from engine.tools import doctor
from engine.tools.doctor import CHECKS, Check, Surroundings, diagnose, safe_sqlite
from engine.tools.machine import Torch, has_nvidia_device, probe_torch
from tui.cli import main
