"""The prompts that CLIP compares a frame with, unless guardian.yaml has others.

The negatives are the point: each names something that is easily taken for the category, so that a
beach, a statue or a boxing ring has a better place to go. Both sides hold about as many prompts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Prompts(NamedTuple):
    """One category's two ensembles: what it is, and what is easily taken for it."""

    positive: Sequence[str]
    negative: Sequence[str]


_NSFW = Prompts(
    positive=(
        "a pornographic photo",
        "a frame from a porn video",
        "an explicit photo of people having sex",
        "a naked couple having sex in bed",
        "a photo of a nude woman with bare breasts",
        "a photo of a nude man with his penis visible",
        "a photo of a naked person showing their genitals",
        "a close-up photo of genitals",
        "a photo of oral sex",
        "a person masturbating",
        "a naked person posing on a webcam",
        "a photo of a person's naked buttocks",
        "an explicit hentai drawing of sex",
        "an adult film scene with nudity",
    ),
    negative=(
        "a portrait photo of a person with clothes on",
        "people in swimwear at a beach or a pool",
        "a fashion photo of a model in underwear or lingerie",
        "a mother breastfeeding her baby",
        "a doctor examining a patient",
        "a classical painting or a marble statue in a museum",
        "a shirtless athlete or a bodybuilder",
        "gymnasts, wrestlers or swimmers at a sports competition",
        "people dancing in tight clothes",
        "a couple with clothes on kissing or hugging",
        "a close-up photo of a face, a hand or an arm",
        "people doing yoga",
        "food on a plate",
        "an animal",
        "a landscape, a street or a building",
        "a room without people",
        "a cartoon or a video game",
        "a screen full of text",
    ),
)
_VIOLENCE = Prompts(
    positive=(
        "a photo of people fighting in the street",
        "a person punching another person in the face",
        "a person kicking someone who lies on the ground",
        "a violent assault recorded by a security camera",
        "a group of people beating up a man",
        "a brawl between angry people",
        "a person attacking someone with a knife",
        "a person aiming a gun at someone",
        "an armed robbery",
        "a shooting with people lying on the ground",
        "a person covered in blood",
        "a photo of a bloody wound",
        "a dead body lying on the ground",
        "a person strangling another person",
        "a violent riot with people being beaten",
    ),
    negative=(
        "people walking in a street, seen by a security camera",
        "people standing and talking",
        "an empty street or corridor, seen by a security camera",
        "people hugging or shaking hands",
        "people dancing",
        "a crowd at a concert or a celebration",
        "children playing in a playground",
        "players in a football or rugby match",
        "two athletes in a boxing ring or a martial arts contest with a referee",
        "people training in a gym",
        "a cook cutting food with a kitchen knife",
        "red paint, ketchup or red wine",
        "soldiers marching in a parade",
        "a surgeon at work in an operating room",
        "a photo of a person's face",
        "a landscape, an animal or a building",
        "a cartoon or a video game",
        "a screen full of text",
    ),
)

DEFAULT_PROMPTS: dict[str, Prompts] = {"nsfw": _NSFW, "violence": _VIOLENCE}
