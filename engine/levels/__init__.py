"""The three levels of the search, each a task: proposals (1), freezes and strategy (1.5), new mechanisms (2).

inner      Level 1
strategy   Level 1.5
research   Level 2, in the course that a person can call off; earlier: what it is told of earlier sessions
briefing   what the prompts of all three carry
protocols  what they stand on
"""
