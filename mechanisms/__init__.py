"""Search mechanisms worth having: one module each, complete in itself, with one class `Mechanism`.

They are what Level 2 reads as examples, and what the offline stand-in adapts by changing their numbers. Each can be
read in a minute. What the hooks are called with and may answer is said in engine/mechanism/contract.py.
"""
