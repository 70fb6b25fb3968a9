"""The words of the village. In every tuple that a choice is made from, the first entry is the likeliest."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


WOMEN = _words(
    "Ada Bea Cora Dora Edith Flora Greta Hanna Ida Julia Klara Lena Mara Nora Olga Petra Rosa Sara Tilda Ursula "
    "Vera Wanda Yana Zelda Agnes Bella Celia Erna Frida Gerda Helga Irma"
)
MEN = _words(
    "Boris Carl Albert David Emil Felix Georg Hugo Ivan Jonas Kurt Leo Max Niels Otto Paul Ralf Simon Theo Ulrich "
    "Victor Walter Yuri Zeno Anton Bruno Casper Erik Frank Gustav Henrik Igor"
)
HEROES = {"Ada": 8.0, "Boris": 4.0, "Carl": 2.0}
"""Who is told of more often than the others (weight 1)."""

STREETS = (
    "Elm Lane",
    "Oak Street",
    "Ash Road",
    "Birch Lane",
    "Cedar Street",
    "Fern Road",
    "Hazel Lane",
    "Ivy Street",
    "Maple Road",
    "Pine Lane",
    "Holly Street",
    "Willow Road",
)
WORKPLACES = _words("mill bakery forge school farm shop harbour library stable garden dairy pottery")
PETS = _words("cat parrot rabbit pony hamster turtle lizard ferret pigeon canary")
TOOLS = _words("hammer knife rope spade needle brush saw ladder compass whistle")
FOODS = _words("soup bread cheese fish cake rice beans pears plums stew")
COLOURS = _words("red blue green yellow white black purple brown")
DRINKS = _words("tea milk cider coffee cocoa juice wine water")
INSTRUMENTS = _words("flute violin drum harp trumpet piano guitar cello")
FEARS = _words("wolves storms ghosts spiders snakes bees bats fire")

PRODUCTS = dict(
    zip(WORKPLACES, _words("flour pastry nails chalk wheat candles salt paper hay herbs butter clay"), strict=True)
)
"""What one carries home from each place of work."""
FODDER = dict(zip(PETS, _words("meat nuts carrots oats seeds lettuce flies eggs corn millet"), strict=True))
"""What one buys for each pet."""
SIDES = dict(zip(STREETS, _words("north east south west") * 3, strict=True))
"""The side of the village each street is on."""

DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = _words("January February March April May June July August September October November December")
NUMBERS = _words("one two three four five six seven eight nine ten eleven twelve")

THINGS = _words("lamp key book coin cup ring map letter basket bell candle hat")
PLACES = _words("mill bridge market well church river inn tower")

SINGULAR_SUBJECTS = _words("dog cow hen goat duck horse boy girl")
PLURAL_SUBJECTS = _words("hens dogs cows goats ducks horses boys girls")
SINGULAR_LANDMARKS = _words("barn gate house pond tree cart fence boat")
PLURAL_LANDMARKS = _words("trees barns gates houses ponds carts fences boats")
PREPOSITIONS = ("near", "behind", "beside", "beyond")
LOOKS = ("quiet", "happy", "cold", "old", "dirty")

CAPITAL_SYLLABLES = _words(
    "Zor Vel Kra Mim Tob Ush Pel Gru Wex Yar Dro Bli Tal Nim Bro Cly Dus Ekk Gax Hov Jer Kul Lom Pri"
)
SMALL_SYLLABLES = _words("bin dak lo mir net pu ras sil tam vo xen zu le don fis gan hu kop mel nax rix sun ver wim")
"""The names of strangers: a capital and a small syllable for the first name, and two others for the second."""
