"""Answers of responses: what a response answers, and whether that is the right answer.

`reading` finds the answer in a response. `structure` reads what it consists of, with `words`, `units`,
`notation` and `numerals`; `equality` compares two readings, and `comparing` two answers as plain text.
`checks` holds the rules by which a response is judged, `verdict` asks one of them. `verifier` keeps the
processes in which the parser of math-verify and sympy compare `expressions`.
"""
