"""Answers of responses: what a response answers, and whether that is the right answer.

`reading` finds the answer in a response, `comparing` compares two answers as text and as numbers, `checks`
holds the rules by which a response is judged, `verdict` asks one of them; `verifier` runs math-verify.
"""
