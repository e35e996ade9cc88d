// SPDX-License-Identifier: Apache-2.0
// The title that a model makes after the first answer: the page looks for it until it is there. Loaded where the server makes titles.

const PAUSES_MS = [1000, 2000, 4000, 8000, 16_000];      // AgentChatTitles gives the model 30 s, if it says nothing else
const FIRST = 4;                        // messages: the first question may have been edited

export class Titles {
  #app; #awaited = new Set();

  /** @param {Object} app the page */
  constructor(app) { this.#app = app; }

  /** An answer of this thread has ended. */
  async expect(thread) {
    if (thread.message_count > FIRST || this.#awaited.has(thread.id)) return;
    this.#awaited.add(thread.id);
    for (const pause of PAUSES_MS) {
      await new Promise(go => setTimeout(go, pause));
      try {
        const now = await this.#app.client.thread(thread.id);
        if (now.title === thread.title) continue;
        this.#app.threadChanged(now);
        break;
      } catch (error) {
        if (!error.transient) break;
      }
    }
    this.#awaited.delete(thread.id);
  }
}
