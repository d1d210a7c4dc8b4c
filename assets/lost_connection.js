// A page that outlives its server. An answer that breaks off, or never comes, is the end of the page to Gradio: no button does anything
// any more, and as soon as the server is back it loads the page anew, with the runs on it gone. Here Gradio hears of a fault instead,
// as in any run that fails: the run on screen ends and stays, and Run goes on where there is a server again.

(() => {
  const STREAM = "/gradio_api/queue/data";
  const FAULT_MESSAGES = [{ msg: "unexpected_error", message: "", success: false, session_not_found: false }, { msg: "close_stream" }];
  const FAULT = FAULT_MESSAGES.map((each) => `data: ${JSON.stringify(each)}\n\n`).join("");
  const JOINED = { event_id: "none" }; // its stream then brings the fault
  const ANSWERS = { "/gradio_api/queue/join": [JOINED, 200], "/gradio_api/run/predict": [{ error: null }, 500] };
  const originalFetch = window.fetch;

  // A proxy says in its own way that the server is gone.
  function isGone(answer) {
    const isJson = answer.headers.get("content-type")?.includes("json");
    return [502, 503, 504].includes(answer.status) && !isJson;
  }

  function faultResponse() {
    return new Response(FAULT, { headers: { "content-type": "text/event-stream" } });
  }

  // The same stream, and the fault at its end where it breaks off.
  function withFaultAtBreak(answer, isLeft) {
    const reader = answer.body.getReader();
    const body = new ReadableStream({
      async pull(controller) {
        const part = await reader.read().catch(() => (isLeft() ? {} : { broken: true }));
        if (part.value) return controller.enqueue(part.value);
        if (part.broken) controller.enqueue(new TextEncoder().encode(FAULT));
        controller.close();
      },
      cancel: (reason) => reader.cancel(reason),
    });
    return new Response(body, { status: answer.status, headers: answer.headers });
  }

  window.fetch = async (address, options) => {
    const { pathname } = new URL(address?.url ?? address, location.href);
    const known = Object.keys(ANSWERS).find((end) => pathname.endsWith(end));
    if (!known && !pathname.endsWith(STREAM)) return originalFetch(address, options);
    const isLeft = () => Boolean((options?.signal ?? address?.signal)?.aborted); // by the page itself
    const answer = await originalFetch(address, options).catch((error) => {
      if (isLeft()) throw error;
      return null;
    });
    if (answer && !isGone(answer)) return known || !answer.ok ? answer : withFaultAtBreak(answer, isLeft);
    if (!known) return faultResponse();
    const [body, status] = ANSWERS[known];
    return Response.json(body, { status });
  };
})();
