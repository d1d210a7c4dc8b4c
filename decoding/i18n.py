"""What people read, by its key and in their language: assets/texts/en.json, ko.json and so on.

Knows no page; the panel's `texts.js` does the same in the browser.
"""

from decoding import assets


def translate(key: str, language: str = "en", /, **values: object) -> str:
    """The text of a key in a language, with `values` for the names in braces; in English where there is no such
    language. Raises KeyError for a key or a name that there is not.
    """
    words = assets.texts()
    return words.get(language, words["en"])[key].format_map(values)
