"""The language model behind the levels: asking it, and reading what it answers.

    client      what a model is (prompt in, reply out), and the one behind an OpenAI-compatible endpoint
    endpoint    a single try at such an endpoint; the only module that imports openai, and only when one is used
    offline     the stand-in that answers by rules, without a network (with offline_research, adapting, blocks)
    recorded    the answers of an earlier session, played back
    asking      ask, parse, ask again; the budget; the events of a call
    answers     the forms of the answers and their parser
    extraction  the one JSON object, or the fenced blocks, in hostile text
    prompts     the texts that are sent

An answer is hostile text until `answers` has read it. The key of an endpoint stays in `client` and `endpoint`: it
is in no error, no event, no answer that is passed on. What is asked, and what follows from an answer, is the levels'.
"""
