"""Common words of our own choosing, for texts to work on and to write."""

WORDS = (
    "amber", "anchor", "apple", "arrow", "autumn", "bakery", "basket", "beacon", "bicycle", "blanket", "border",
    "bottle", "branch", "bridge", "bucket", "butter", "cabin", "candle", "canyon", "carpet", "castle", "cedar",
    "cherry", "circle", "clover", "coffee", "copper", "corner", "cotton", "cradle", "crystal", "curtain", "daisy",
    "desert", "dinner", "doctor", "dragon", "drawer", "eagle", "echo", "ember", "engine", "evening", "falcon", "farmer",
    "feather", "fiddle", "finger", "forest", "fountain", "galaxy", "garden", "garlic", "ginger", "glacier", "guitar",
    "hammer", "harbor", "harvest", "hazel", "helmet", "honey", "horizon", "island", "ivory", "jacket", "jasmine",
    "jungle", "kernel", "kettle", "kitten", "ladder", "lagoon", "lantern", "lemon", "letter", "library", "lizard",
    "locket", "magnet", "maple", "marble", "meadow", "melon", "mirror", "mitten", "monkey", "mountain", "museum",
    "napkin", "needle", "nickel", "notebook", "nutmeg", "ocean", "olive", "onion", "orange", "orchard", "otter",
    "oyster", "paddle", "palace", "panther", "paper", "parrot", "pebble", "pencil", "pepper", "piano", "pigeon",
    "pillow", "pirate", "planet", "plaza", "pocket", "prairie", "pumpkin", "puzzle", "quartz", "rabbit", "raven",
    "ribbon", "river", "rocket", "saddle", "salmon", "school", "scooter", "shadow", "shelter", "silver", "sister",
    "spider", "spring", "squirrel", "station", "summer", "sunset", "sweater", "table", "temple", "thunder", "ticket",
    "tiger", "timber", "tomato", "towel", "tractor", "trumpet", "tunnel", "turtle", "valley", "vanilla", "velvet",
    "village", "violet", "walnut", "water", "whistle", "window", "winter", "wizard", "yellow", "zebra",
)  # fmt: skip
