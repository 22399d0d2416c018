"""dev"""
__version__ = "0.1.0"
from gsimplicit.gray_scott import Params
from gsimplicit.initial import Box, initial_state
