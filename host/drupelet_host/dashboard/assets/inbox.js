// Messages that wait until they are applied: a large fleet sends thousands at once, and the page must go on answering a person.

// A task of more than 50 ms is felt (W3C Long Tasks).
const SLICE_MS = 10;

export class Inbox {
  /** Calls `apply(message)` for each message in the order of arrival, which tells whether it changed something, and `onChange()`. */
  constructor(apply, onChange) {
    this.apply = apply;
    this.onChange = onChange;
    this.waiting = [];
    this.next = 0;
    // Comes after clicks and scrolling, and is not delayed as timers are.
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => this.work();
    this.wake = () => port2.postMessage(null);
  }

  add(message) {
    if (this.waiting.push(message) === 1) this.wake();
  }

  work() {
    const endMs = performance.now() + SLICE_MS;
    let isChanged = false;
    while (this.next < this.waiting.length && performance.now() < endMs) {
      isChanged = this.apply(this.waiting[this.next++]) || isChanged;
    }
    if (isChanged) this.onChange();
    if (this.next < this.waiting.length) this.wake();
    else {
      this.waiting = [];
      this.next = 0;
    }
  }
}
