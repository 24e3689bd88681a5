// What a person may do to a model from the page, each behind a confirmation that says what will happen.
import { make, setText } from "./elements.js";
import { showMs } from "./format.js";

const describe = release => `release ${release.release} (${release.version})`;
// By command: the button's label, the request, what it would do with what the device has installed, what is said meanwhile.
const ACTIONS = {
  rollback: {
    label: "Roll back",
    request: (model, { active }) => ({ model, from_release: active.release }),
    explain: ({ active, previous }) => active && previous
      ? { text: `${describe(previous)} answers instead of ${describe(active)}. Both stay on the device.`, isPossible: true }
      : { text: "The device has no release before the active one.", isPossible: false },
    running: "Rolling back",
  },
  activate: {
    label: "Activate newest",
    request: (model, installed) => ({ model, release: newest(installed).release }),
    explain: installed => {
      const next = newest(installed);
      return next ? { text: `${describe(next)} answers instead of ${describe(installed.active)}.`, isPossible: true }
        : { text: "The device has no release that is newer than the active one. Push one first.", isPossible: false };
    },
    running: "Activating",
  },
  tune: {
    label: "Tune again",
    request: model => ({ model }),
    explain: ({ active }) => active
      ? { text: `${describe(active)} is measured again with every plan, which takes up to minutes; it answers meanwhile, more slowly.`, isPossible: true }
      : { text: "The device has no active release.", isPossible: false },
    running: "Measuring",
  },
};

function newest({ active, previous, staged }) {
  return [staged, previous].find(release => release && active && release.release > active.release) ?? null;
}

export class Actions {
  constructor(device, model, connection) {
    Object.assign(this, { device, model, connection });
    this.status = make("p", { className: "note", role: "status" });
    this.buttons = Object.entries(ACTIONS).map(([command, { label }]) => {
      const button = make("button", { type: "button", className: "action", "aria-haspopup": "dialog" }, label);
      button.addEventListener("click", () => this.ask(command, button));
      return button;
    });
    this.element = make("div", { className: "actions" }, ...this.buttons, this.status);
  }

  /** Open the confirmation; the device is asked what it has, so that the text says what will happen. */
  async ask(command, button) {
    const { label, explain } = ACTIONS[command], text = make("p", {}, `Asking ${this.device} for its releases`);
    const confirm = make("button", { type: "submit", className: "action is-main", value: "confirm", disabled: true }, label);
    const cancel = make("button", { type: "submit", className: "action", value: "" }, "Cancel");
    const heading = make("h3", {}, `${label}: ${this.model} on ${this.device}`);
    const dialog = make("dialog", { "aria-label": heading.textContent },
      make("form", { method: "dialog" }, heading, text, make("div", { className: "actions" }, cancel, confirm)));
    let installed;
    dialog.addEventListener("close", () => {
      dialog.remove();
      button.focus();
      if (dialog.returnValue === "confirm" && installed) this.run(command, installed);
    });
    this.element.append(dialog);
    dialog.showModal();
    try {
      const answer = await this.connection.command(this.device, "list", {});
      installed = answer.models.find(each => each.model === this.model) ?? {};
      const { text: explanation, isPossible } = explain(installed);
      setText(text, explanation);
      confirm.disabled = !isPossible;
    } catch (error) {
      setText(text, describeFailure(error));
      text.className = "failed";
    }
  }

  async run(command, installed) {
    const { request, running } = ACTIONS[command];
    this.show(running);
    for (const button of this.buttons) button.disabled = true;
    try {
      const active = await this.connection.command(this.device, command, request(this.model, installed),
        ({ stage, detail }) => this.show(`${running}: ${stage}${detail ? `, ${detail}` : ""}`));
      this.show(`${describe(active)} is active: ${active.variant}, p99 ${showMs(active.plan.p99_ms)}`);
    } catch (error) {
      this.show(describeFailure(error), true);
    } finally {
      for (const button of this.buttons) button.disabled = false;
    }
  }

  show(text, isFailed = false) {
    this.status.className = isFailed ? "failed" : "note";
    setText(this.status, text);
  }
}

function describeFailure(error) {
  return `${error.message} [${error.code ?? "no code"}]`;
}
