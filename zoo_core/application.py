"""The tasks a model can serve, by DJL's paths and aliases.

Source: ``ai.djl.Application`` of Deep Java Library, as ``docs/reference/metadata.md`` lists it.
"""

from __future__ import annotations

from collections.abc import Mapping

from zoo_core.errors import CriteriaError
from zoo_core.wording import did_you_mean

UNDEFINED = "undefined"

#: path -> (type of a prediction's input, type of its output); None where the application fixes none
APPLICATIONS: dict[str, tuple[str, str] | None] = {
    "audio": None,
    "cv": None,
    "cv/action_recognition": ("image", "Classifications"),
    "cv/image_classification": ("image", "Classifications"),
    "cv/image_enhancement": ("image", "image"),
    "cv/image_generation": None,
    "cv/instance_segmentation": ("image", "DetectedObjects"),
    "cv/mask_generation": None,
    "cv/object_detection": ("image", "DetectedObjects"),
    "cv/pose_estimation": ("image", "Joints"),
    "cv/semantic_segmentation": ("image", "CategoryMask"),
    "cv/word_recognition": ("image", "text"),
    "cv/zero_shot_image_classification": None,
    "cv/zero_shot_object_detection": None,
    "nlp": None,
    "nlp/fill_mask": ("text", "Classifications"),
    "nlp/machine_translation": ("text", "text"),
    "nlp/multiple_choice": None,
    "nlp/question_answer": None,
    "nlp/sentiment_analysis": ("text", "Classifications"),
    "nlp/text_classification": ("text", "Classifications"),
    "nlp/text_embedding": ("text", "array"),
    "nlp/text_generation": ("text", "text"),
    "nlp/token_classification": None,
    "nlp/word_embedding": ("text", "array"),
    "nlp/zero_shot_classification": None,
    "tabular": None,
    "tabular/linear_regression": None,
    "tabular/softmax_regression": None,
    "timeseries/forecasting": None,
    UNDEFINED: None,
}

_ALIASES = {path.rpartition("/")[2]: path for path in APPLICATIONS if path.startswith(("cv/", "nlp/"))} | {
    "question_answering": "nlp/question_answer",
    "sentence_similarity": "nlp/text_embedding",
}
del _ALIASES["question_answer"]


def canonical(text: str) -> str | None:
    """The path of an application or alias; None where nobody knows it. Case matters, as in DJL.

    Hyphens stand for underscores: DJL's own documents have both.

    >>> canonical("image_classification"), canonical("cv"), canonical("cv/image-generation"), canonical("cv/else")
    ('cv/image_classification', 'cv', 'cv/image_generation', None)
    """
    path = text.replace("-", "_")
    return path if path in APPLICATIONS else _ALIASES.get(path)


def parse(text: str) -> str:
    """The path of the application a user asked for.

    Raises:
        CriteriaError: Nobody knows the application; the message has the near names.
    """
    found = canonical(text)
    if found is None:
        known = sorted({*APPLICATIONS, *_ALIASES})
        raise CriteriaError(
            f"unknown application {text!r}{did_you_mean(text, known)}. Applications: {', '.join(sorted(APPLICATIONS))}"
        )
    return found


def matches(asked: str, found: str | None) -> bool:
    """Whether an artifact's application lies at or below the one asked for: ``cv`` matches ``cv/...``."""
    if found is None:
        return asked == UNDEFINED
    path = canonical(found) or found
    return path == asked or path.startswith(asked + "/")


def type_of(arguments: Mapping[str, object], application: str, side: int) -> str:
    """What a prediction takes or gives: as an artifact's arguments say, else as its application does; "" where neither does.

    Args:
        side: 0 for the input, 1 for the output.
    """
    camel, snake = (("inputType", "input_type"), ("outputType", "output_type"))[side]
    pair = APPLICATIONS.get(canonical(application) or "")
    return str(arguments.get(camel, arguments.get(snake, pair[side] if pair else "")))
