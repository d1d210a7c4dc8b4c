// The page's fields beside the run on screen: where a run comes on screen they follow it, and what is typed into them since is known,
// so that the panel can say that it shows another run. Knows the fields' values, not how they are drawn.

const AS_TYPED = { autocorrect: "off", autocapitalize: "off", autocomplete: "off", spellcheck: "false" };

// `drafted` and `asked` are what the page tells the panel: decoding/page/events.py.
function followFields(parts, view, panel, trigger) {
  const { root } = parts;
  root.addEventListener("drafted", ({ detail }) => {
    view.fields = detail;
    leaveTextAlone();
    panel.schedule();
  });
  root.addEventListener("asked", ({ detail }) => panel.pressed(detail));
  leaveTextAlone();

  // In the order of the page's fields; null stays as it is.
  root.fieldsOfRun = () => {
    const { prompt, steps, choices, model } = view.following;
    return [prompt, steps <= MAX_LINKED_STEPS ? steps : null, choices, view.models.includes(model) ? model : null];
  };

  function follow(run) {
    const { prompt, max_new_tokens: steps, top_k: choices, model } = run.header;
    const [before, following] = [view.fields, { prompt, steps, choices, model: model.id }];
    if (before && Object.keys(following).every((name) => before[name] === following[name])) return;
    Object.assign(view, { following, fields: before && { ...before, ...following } });
    trigger("follow", {});
  }

  return { follow };
}

// A prompt is read as it is typed: no browser writes it otherwise, and it runs the way that its letters run.
function leaveTextAlone() {
  const field = document.querySelector("#prompt textarea");
  if (!field || field.dir === "auto") return;
  field.dir = "auto";
  for (const [name, value] of Object.entries(AS_TYPED)) field.setAttribute(name, value);
}
