"""Translations: the texts that people read, by key and language, from assets/texts/en.json, ko.json and so on.

Owns the lookup and its fallback to English. Knows no page; the panel's `texts.js` does the same in the browser.
"""

from decoding import assets


def translate(key: str, language: str = "en", /, **values: object) -> str:
    """The text of `key` in `language`, with `values` filled in for the names in braces; in English for an unknown
    language. Raises KeyError for an unknown key or name.
    """
    words = assets.texts()
    return words.get(language, words["en"])[key].format_map(values)
