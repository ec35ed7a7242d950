"""The training target that ships with bilevel: a small GPT (train.py), its fixed data and evaluation (prepare.py), and
what a search may change (target.toml). The scripts run on their own, as `python train.py`; nothing imports them."""
