"""Translations: the texts that people read, by key and language.

Owns the lookup and its fallback to English. Knows no page; the panel's `core/texts.js` does the same in the browser.
Each language is a file of assets/texts/ with the same keys as en.json. To add one, translate en.json into a new file
there, such as fr.json; it appears in the page's language switch by its `language.name`, and tests/test_i18n.py checks
it.
"""

from decoding import assets


def translate(key: str, language: str = "en", /, **values: object) -> str:
    """The text of `key` in `language`, with `values` filled in for the names in braces; in English for an unknown
    language. Raises KeyError for an unknown key or name.
    """
    words = assets.texts()
    return words.get(language, words["en"])[key].format_map(values)
