"""What a search is about: parameters and their space, the script's block of constants, trials, acceptance, noise.

Pure computation: no process, no file but the ones handed in, no clock, no event.
"""
