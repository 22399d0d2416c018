"""dev"""
__version__ = "0.1.0"
from gsimplicit.gray_scott import Params
from gsimplicit.initial import Box, initial_state
from gsimplicit.steady import steady_state
from gsimplicit.refine import Refine
from gsimplicit.results import *
from gsimplicit.losses import *
