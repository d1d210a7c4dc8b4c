// The theme of a page of our own (a file, the static site): the reader's, light or dark, and it follows when the reader changes it.

export function followTheme() {
  const night = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => document.body.classList.toggle("dark", night.matches);
  night.addEventListener("change", follow);
  follow();
}
