"""What renders chat templates, in a process of `corrpo.answers.verifier_process` that imports no torch."""

from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template


def respond(
    template: str, messages: list[dict[str, Any]], continued: bool, special_tokens: dict[str, Any], most: int
) -> tuple[str, str]:
    """The text of a chat: "rendered"; "long" beyond `most` characters; "refused" with a reason."""
    try:
        (text,), _ = render_jinja_template(
            conversations=[messages],
            chat_template=template,
            add_generation_prompt=not continued,
            continue_final_message=continued,
            **special_tokens,
        )
    except MemoryError:
        raise
    except Exception as error:  # templates raise what they like
        return "refused", str(error)[:2000] or type(error).__name__
    return ("rendered", text) if len(text) <= most else ("long", "")
