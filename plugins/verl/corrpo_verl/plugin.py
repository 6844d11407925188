"""What verl loads by the entry-point group `verl.plugins`: to import it registers the trainer "corrpo".

verl tells the error of a plug-in at its debug level alone, so it is logged here before it goes there.
"""

import logging

try:
    from corrpo_verl import trainer  # noqa: F401
except Exception as error:
    logging.getLogger(__name__).error(
        "verl gets no trainer 'corrpo', as corrpo_verl cannot be imported: %s: %s; "
        "`python -c 'import corrpo_verl.trainer'` shows where",
        type(error).__name__,
        error,
    )
    raise
