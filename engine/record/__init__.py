"""The record of a session: typed events, the database they lie in, and the view that they fold into.

events      every event; settings: what the first one holds
schema      tables, hash chain, errors; creation, hold, lock, store, writer and head: the one who writes
reader      everybody else; recovery: damage found, and the way back to a backup
view        what is known of a session; folding (with folding_level2, handlers and acts): how events change it;
            seeking: the view at any event
journal     the engine's end: to disk first, then into the view
credit      what came of a mechanism's acts; evidence: all that is known of it, for a person
archive     what earlier sessions leave to a new one (by legacy and findings)
summary     a session for scripts; account: for a person; wording: how values and texts read
"""
