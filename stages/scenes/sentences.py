"""A small grammar of everyday English of our own, for what the embedded synthesizer says.

Most sentences part their clauses by commas, so that speech pauses there; one in six says some word twice.
"""

import re

import numpy as np

from manifests.speech import words_of

SHORTEST, LONGEST = 5, 14  # words
REPEATS = 1 / 6  # share of sentences in which some word stands twice
SLOT = re.compile(r"\{(\w+)\}")
ARTICLE = re.compile(r"\b([Aa]) (?=[aeiou])")  # no word below begins with a silent h or with a u said as in use

PEOPLE = tuple(
    "farmer teacher doctor neighbor baker driver painter singer gardener student captain carpenter nurse butcher waiter tailor "
    "sailor hunter librarian postman engineer uncle aunt cousin brother sister grandmother grandfather visitor stranger child "
    "plumber fisherman mechanic artist actor officer manager writer dancer".split()
)
ANIMALS = tuple("dog cat horse rabbit fox bird squirrel goat sheep pony duck owl donkey puppy kitten turtle hen cow".split())
THINGS = tuple(
    "basket lantern bottle box letter book blanket ladder hammer bucket picture mirror camera bicycle guitar violin table chair "
    "candle clock kettle pillow umbrella wallet notebook jacket sweater hat coat bag suitcase rope shovel radio painting drum "
    "carpet newspaper ticket map wheel cup plate bowl spoon knife tent pencil scarf necklace whistle boat fence apron envelope".split()
)
FOODS = tuple("bread soup cheese salad chicken rice pie cake pasta fruit fish pudding stew porridge meat ham".split())
GROCERIES = tuple("apples carrots onions eggs potatoes tomatoes lemons beans cherries mushrooms cookies grapes nuts pears pancakes peas".split())
LOOKS = tuple(
    "old new heavy small large wooden broken dusty clean shiny red blue green yellow white black round narrow simple cheap "
    "expensive beautiful strange empty warm wet plain soft rusty bright".split()
)
MOODS = tuple("young old tall friendly quiet tired happy careful clever nervous polite patient busy gentle brave cheerful lonely curious".split())
HANDLED = tuple(
    "carried found cleaned painted repaired sold bought borrowed dropped lifted covered moved packed hid kept took wanted "
    "noticed forgot brought lost measured washed wrapped stole returned held".split()
)
ATE = tuple("ate cooked shared tasted served ordered prepared enjoyed smelled".split())
WENT = tuple("walked ran hurried drove returned traveled wandered marched raced went came moved".split())
STAYED = tuple("waited rested stayed sat stood slept worked played slipped stopped sang laughed".split())
RESTED = tuple("slept waited rested hid played sat jumped drank stood listened".split())
ROOMS = tuple("garden kitchen forest park library market village city field hotel school office theater valley museum hospital barn".split())
SPOTS = tuple("river gate bridge lake window fountain tower station fire road shore harbor church mountain door corner wall tree".split())
LISTED = {*FOODS, *GROCERIES, *LOOKS, *MOODS}  # what a list names, which would not name it twice
MANNERS = tuple("slowly quietly quickly carefully happily suddenly gently calmly proudly patiently softly eagerly silently".split())
MOMENTS = (
    *("yesterday", "last night", "in the morning", "after lunch", "before dinner", "on Sunday", "last winter", "one evening", "at noon", "in spring"),
    *("two weeks ago", "on Friday afternoon", "at midnight", "early in April", "last summer", "this time", "for once", "as usual", "at first", "later"),
    *("by chance", "to our surprise", "without a word", "in the end", "at last", "once again", "every autumn", "long ago", "on the way home"),
)
WEATHER = tuple("rain snow wind storm thunder fog noise music traffic smoke".split())

GRAMMAR = {
    "sentence": (
        "{joining} {happening}, {action}.",
        "{joining} {happening}, {action}.",
        "{joining} {happening}, {who} {stayed}, and {action}.",
        "{moment}, {action}.",
        "{moment}, {who} {stayed} {where}, and {action}.",
        "{moment}, {who} {handled} {thing}, {handled} {thing}, and {went} home.",
        "{action}, but {happening}.",
        "{action}, so {who} {stayed} {where}.",
        "{action}, and {happening}.",
        "{determiner} {person}, who {handled} {thing}, {went} {whither}.",
        "{determiner} {animal}, which {rested} {where}, was {mood} and {mood}.",
        "{who} bought {grocery}, {grocery}, {grocery}, and {thing}.",
        "{who} bought {grocery}, {grocery}, and some {food} at {there} market.",
        "{manner}, {determiner} {mood} {person} {handled} {thing}.",
        "{determiner} {mood} {person} {handled} {thing} {where}.",
        "{determiner} {look} {object} {where} was {look}, {look}, and {look}.",
        "If {expected}, we will {deed}, and {plan}.",
        "Could you {deed} {manner}, {request}?",
        "Please {deed}, {request}.",
        "{who} {stayed} {where}, {stayed} {where}, and {went} home.",
        "{who} {handled} {thing}, then {went} {whither}, and {stayed} there {manner}.",
        "Although {happening}, {action}.",
        "{determiner} {mood} {person} had never been {where}, yet he {stayed} there.",
        "{determiner} {mood} {person} had never been {where}, yet she {stayed} there.",
        "There was a {look} {object} {where}, and {happening}.",
    ),
    "joining": ("when", "after", "before", "while", "because", "as soon as", "since", "although", "just as"),
    "happening": (
        "the {weather} stopped",
        "the {weather} began",
        "the {weather} grew stronger",
        "{determiner} {animal} {rested} {where}",
        "{determiner} {mood} {animal} {rested}",
        "{who} {stayed} {where}",
        "{who} {went} {whither}",
        "{determiner} {object} was {look}",
        "nobody {handled} {thing}",
        "{who} {ate} {meal}",
    ),
    "action": (
        "{who} {handled} {thing}",
        "{who} {handled} {thing} {where}",
        "{who} {manner} {handled} {thing}",
        "{who} {went} {whither}",
        "{who} {manner} {went} {whither}",
        "{who} {ate} {meal}",
        "{who} {ate} {meal} {where}",
        "{determiner} {animal} {rested} {where}",
        "{who} {handled} {thing} and {went} {whither}",
        "{who} and {determiner} {person} {handled} {thing}",
    ),
    "expected": ("the {weather} stops", "the {weather} gets worse", "your {person} agrees", "nobody comes", "{determiner} {animal} is {mood}"),
    "deed": (
        *("bring {thing}", "borrow {thing}", "repair {thing}", "wait {where}", "walk {whither}", "help {determiner} {person}", "feed {determiner} {animal}"),
        *("cook {meal}", "paint {thing}", "look for {thing}", "clean {thing}", "find {thing}"),
    ),
    "plan": ("you can stay", "everybody will help", "they will follow", "nobody will know", "dinner can wait", "{determiner} {person} will help"),
    "request": ("my friend", "if you can", "when you have time", "before it gets dark", "as you promised", "or ask {determiner} {person}"),
    "who": ("she", "he", "we", "they", "everyone", "I", *["{determiner} {person}"] * 5, *["{determiner} {mood} {person}"] * 3),
    "thing": (*["{some} {object}"] * 2, *["{some} {look} {object}"] * 3),
    "meal": ("some {food}", "fresh {food}", "{look_of_food} {food}", "{food} and {grocery}", "{food} with {grocery}"),
    "where": ("in {there} {room}", "near {there} {spot}", "behind {there} {spot}", "outside {there} {room}", "by {there} {spot}"),
    "whither": ("to {there} {room}", "into {there} {room}", "toward {there} {spot}", "past {there} {spot}", "through {there} {room}"),
    "there": ("the", "the", "the", "this", "that", "our", "their"),
    "determiner": ("the", "the", "my", "our", "his", "her", "this", "that", "their", "your"),
    "some": ("a", "a", "a", "the", "my", "our", "his", "her", "another", "one"),
    "look_of_food": ("warm", "hot", "cold", "sweet", "delicious", "homemade", "spicy", "salty"),
    "person": PEOPLE,
    "animal": ANIMALS,
    "object": THINGS,
    "food": FOODS,
    "grocery": GROCERIES,
    "look": LOOKS,
    "mood": MOODS,
    "handled": HANDLED,
    "ate": ATE,
    "went": WENT,
    "stayed": STAYED,
    "rested": RESTED,
    "room": ROOMS,
    "spot": SPOTS,
    "manner": MANNERS,
    "moment": MOMENTS,
    "weather": WEATHER,
}


def sentence(chance: np.random.Generator) -> str:
    """An English sentence of 5 to 14 words with its punctuation, drawn from the grammar.

    >>> from manifests.chance import generator
    >>> sentence(generator(1)) == sentence(generator(1))
    True
    """
    repeats = chance.random() < REPEATS
    while True:
        text = ARTICLE.sub(r"\1n ", _expand("{sentence}", chance))
        words = words_of(text)
        twice = {word for word in words if words.count(word) > 1}
        if SHORTEST <= len(words) <= LONGEST and bool(twice) == repeats and not twice & LISTED:
            return text[0].upper() + text[1:]


def _expand(text: str, chance: np.random.Generator) -> str:
    while SLOT.search(text):
        text = SLOT.sub(lambda slot: GRAMMAR[slot[1]][chance.integers(len(GRAMMAR[slot[1]]))], text)
    return text
